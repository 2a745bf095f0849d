"""Finds the errors of a statement that need no answers, before any question is asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import duckdb

from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.functions import RETURNS, Functions
from sqlinfer.sql.plan import Parameters
from sqlinfer.sql.rewrite.parsed_calls import parsed_calls
from sqlinfer.sql.rewrite.probe_queries import created_table
from sqlinfer.sql.rewrite.tokens import closing, tokenize

Execute = Callable[..., duckdb.DuckDBPyConnection]
_EXPLAIN = "EXPLAIN "


def validate(execute: Execute, sql: str, parameters: Parameters, functions: Functions) -> None:
    """Bind a statement without running it: DuckDB's own error, or one of ours for a parameter that a function does
    not have, for an argument that is missing, or for a table that is there already. execute: the connection's."""
    try:
        execute(_EXPLAIN + sql, parameters).fetchall()
    except duckdb.Error as error:
        if "does not support the supplied arguments" in str(error):
            _check_names(sql, functions)
            _check_required(sql, functions)
        raise type(error)(_without_explain(str(error))).with_traceback(None) from None
    table = created_table(sql)
    if table is not None and exists(execute, table):
        raise SqlinferError(
            f"table {table} exists already; write CREATE OR REPLACE TABLE {table} to replace it, "
            f"or INSERT INTO {table} to add rows"
        )


def _check_names(sql: str, functions: Functions) -> None:
    """Refuse a named parameter that the function of its call does not have."""
    tokens = tokenize(sql)
    for index, token in enumerate(tokens[:-1]):
        if token.word not in functions or tokens[index + 1].text != "(":
            continue
        function = functions[token.word]
        names = [*(argument.name for argument in function.arguments), *function.options]
        names += [RETURNS] if function.type_of else []
        inside = tokens[index + 2 : closing(tokens, index + 1)]
        for name, sign in pairwise(inside):
            named = sign.text in (":=", "=>") and name.depth == token.depth + 1
            if named and name.word and name.word not in map(str.lower, names):
                raise SqlinferError(
                    f"{token.word} has no parameter {name.text}. {nearest(name.word, names)} "
                    f"Its signature: {function.signature}"
                )


def _check_required(sql: str, functions: Functions) -> None:
    """Refuse a call without an argument that has no default."""
    for call in parsed_calls(sql, functions):
        function = call.function
        missing = [a.name for a in function.arguments if a.required and a.name.lower() not in call.given]
        if missing:
            raise SqlinferError(f"{function.name} needs {' and '.join(missing)}. Its signature: {function.signature}")


def exists(execute: Execute, table: str) -> bool:
    """Whether a table or view has this name; asked of the catalogue, as an error would abort a transaction."""
    parts = [(quoted or plain).replace('""', '"') for quoted, plain in re.findall(r'"((?:[^"]|"")*)"|(\w+)', table)]
    name, where = parts[-1], parts[:-1]
    relations = (
        "SELECT table_name AS name, schema_name, database_name FROM duckdb_tables() UNION ALL "
        "SELECT view_name, schema_name, database_name FROM duckdb_views()"
    )
    found = execute(
        f"SELECT lower(schema_name), lower(database_name), schema_name = current_schema() AND "
        f"database_name = current_database() FROM ({relations}) WHERE lower(name) = lower(?)",
        [name],
    ).fetchall()
    if not where:
        return any(here for _, _, here in found)
    return any({part.lower() for part in where} <= {schema, database} for schema, database, _ in found)


def _without_explain(message: str) -> str:
    """DuckDB's message as if EXPLAIN had not stood before the statement; the caret moves along."""
    lines = message.split("\n")
    for number, line in enumerate(lines):
        if line.startswith("LINE 1: " + _EXPLAIN):
            lines[number] = line.replace(_EXPLAIN, "", 1)
            if number + 1 < len(lines) and lines[number + 1].strip(" ").startswith("^"):
                lines[number + 1] = lines[number + 1][len(_EXPLAIN) :]
    return "\n".join(lines)
