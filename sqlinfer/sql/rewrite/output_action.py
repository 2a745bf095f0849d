"""A pass over SQL text: what becomes of a table or file that is there when a statement with AI functions writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlinfer.errors import SqlinferError
from sqlinfer.sql.rewrite.atomic_copy import copied_to
from sqlinfer.sql.rewrite.probe_queries import created_table
from sqlinfer.sql.rewrite.tokens import tokenize
from sqlinfer.sql_text import unquote


def output_action(sql: str, action: str | None, exists: Callable[[str], bool]) -> str:
    """The statement with an output_action of the job's settings. exists: whether a table is there.

    CREATE TABLE .. AS appends to a table that is there, replaces it, or is left to fail. COPY .. TO a file replaces
    it if that was said, and refuses otherwise. What says itself what it does (OR REPLACE, INSERT) is left alone.

    >>> output_action("CREATE TABLE t AS SELECT f(x) FROM r", "append_row", lambda name: True)
    'INSERT INTO t SELECT f(x) FROM r'
    >>> output_action("CREATE TABLE t AS SELECT f(x) FROM r", "replace", lambda name: True)
    'CREATE OR REPLACE TABLE t AS SELECT f(x) FROM r'
    """
    table = created_table(sql)
    if table is not None and action in ("append_row", "replace"):
        return _created(sql, table, action, exists)
    target = _file_of(sql)
    if target is not None and Path(target).is_file() and action != "replace":
        if action == "append_row":
            raise SqlinferError(f"COPY cannot append to {target}, which is there; write another file, or replace it")
        raise SqlinferError(
            f"{target} exists already. Replace it: --output-action replace, or SET sqlinfer_output_action = 'replace'"
        )
    return sql


def _created(sql: str, table: str, action: str, exists: Callable[[str], bool]) -> str:
    tokens = tokenize(sql)
    if action == "replace":
        return f"{sql[: tokens[0].end]} OR REPLACE{sql[tokens[0].end :]}"
    begins = next((token for token in tokens if token.depth == 0 and token.keyword == "AS"), None)
    if begins is None or not exists(table):
        return sql
    return f"INSERT INTO {table} {sql[begins.end :].strip()}"


def _file_of(sql: str) -> str | None:
    tokens = tokenize(sql)
    target = copied_to(tokens)
    return None if target is None else unquote(tokens[target].text)
