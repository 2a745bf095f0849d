"""Requests in, completions out, one model version at a time; knows no SQL and no DuckDB.

Importing this package loads neither torch nor transformers.
"""
