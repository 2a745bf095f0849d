"""A pass over SQL text: what becomes of a table or file that is there when a statement with AI functions writes it."""

from __future__ import annotations

from sqlinfer.errors import SqlinferError
from sqlinfer.sql.parsing.tokens import first_keyword, tokenize
from sqlinfer.sql.parsing.written_targets import copied_file, created_table
from sqlinfer.sql.rewrite.context import RewriteContext


def output_action(sql: str, context: RewriteContext) -> str:
    """The statement with the output_action of the job's settings.

    CREATE TABLE .. AS appends to a table that is there, replaces it, or is left to fail. COPY .. TO a file replaces
    it if the setting says so, and refuses otherwise. OR REPLACE and INSERT say themselves what they do and stay.

    >>> from sqlinfer.functions import load_functions
    >>> append = RewriteContext(load_functions(), output_action="append_row", table_exists=lambda name: True)
    >>> output_action("CREATE TABLE t AS SELECT f(x) FROM r", append)
    'INSERT INTO t SELECT f(x) FROM r'
    >>> output_action("CREATE TABLE t AS SELECT f(x) FROM r", RewriteContext(load_functions(), output_action="replace"))
    'CREATE OR REPLACE TABLE t AS SELECT f(x) FROM r'
    """
    action = context.output_action
    table = created_table(sql)
    if table is not None and action in ("append_row", "replace"):
        return _create(sql, table, context)
    file = copied_file(sql, context.parameters)
    if file is None or action == "replace" or not file.is_there:
        return sql
    if action == "append_row":
        raise SqlinferError(f"COPY cannot append to {file.name}, which is there; write another file, or replace it")
    raise SqlinferError(
        f"{file.name} exists already. Replace it: --output-action replace, or SET sqlinfer_output_action = 'replace'"
    )


def _create(sql: str, table: str, context: RewriteContext) -> str:
    tokens = tokenize(sql)
    if context.output_action == "replace":
        return f"{sql[: tokens[0].end]} OR REPLACE{sql[tokens[0].end :]}"
    query = first_keyword(tokens, "AS")
    if query is None or not context.table_exists(table):
        return sql
    return f"INSERT INTO {table} {sql[tokens[query].end :].strip()}"
