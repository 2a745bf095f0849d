"""Requests in, completions out, within a job: budget, single flight, retry, engine. Knows no SQL and no DuckDB."""
