"""What a statement writes to: a table that it makes, or a file. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

import duckdb

from sqlinfer.sql.parsing.tokens import closing, keywords, tokenize

Execute = Callable[..., duckdb.DuckDBPyConnection]


def created_table(sql: str) -> str | None:
    """The table that CREATE TABLE .. AS makes and may not be there yet, as written; None for other statements.

    >>> created_table('CREATE TEMP TABLE main."t 1" AS FROM r'), created_table("CREATE OR REPLACE TABLE t AS FROM r")
    ('main."t 1"', None)
    """
    tokens = tokenize(sql)
    head = keywords(tokens[:5])
    if head[:1] != ["CREATE"] or "TABLE" not in head or "REPLACE" in head:
        return None
    name = tokens[head.index("TABLE") + 1 :]
    if not name or name[0].keyword == "IF":
        return None
    end = 0
    while end + 2 < len(name) and name[end + 1].text == ".":
        end += 2
    return sql[name[0].start : name[end].end]


def copied_file(sql: str) -> int | None:
    """The index of the token that is the file of COPY (SELECT ..) TO; None for other statements and for what is no
    plain text.

    >>> copied_file("COPY (SELECT f(x) FROM t) TO 'x.csv'")
    11
    """
    tokens = tokenize(sql)
    if len(tokens) < 4 or tokens[0].keyword != "COPY" or tokens[1].text != "(":
        return None
    target = closing(tokens, 1) + 2
    if target >= len(tokens) or tokens[target - 1].keyword != "TO" or not tokens[target].text.startswith("'"):
        return None
    return target


def table_exists(execute: Execute, table: str) -> bool:
    """Whether a table or view has this name; asked of the catalogue, as an error would abort a transaction."""
    parts = [(quoted or plain).replace('""', '"') for quoted, plain in re.findall(r'"((?:[^"]|"")*)"|(\w+)', table)]
    *qualifiers, name = parts
    relations = (
        "SELECT table_name AS name, schema_name, database_name FROM duckdb_tables() UNION ALL "
        "SELECT view_name, schema_name, database_name FROM duckdb_views()"
    )
    rows = execute(
        f"SELECT lower(schema_name), lower(database_name), schema_name = current_schema() AND "
        f"database_name = current_database() FROM ({relations}) WHERE lower(name) = lower(?)",
        [name],
    ).fetchall()
    if not qualifiers:
        return any(is_current for _, _, is_current in rows)
    return any({part.lower() for part in qualifiers} <= {schema, database} for schema, database, _ in rows)
