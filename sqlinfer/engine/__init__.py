"""Requests in, completions out, one model version at a time; knows no SQL and no DuckDB.

Importing this package loads neither torch nor transformers.
"""

from __future__ import annotations

from sqlinfer.engine.engine_pool import close_all, count_prompt_tokens, get_engine, open_engine

__all__ = ["close_all", "count_prompt_tokens", "get_engine", "open_engine"]
