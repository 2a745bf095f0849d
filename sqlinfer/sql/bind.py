"""Binds a statement once: one EXPLAIN tells whether its guards fit, what is wrong with it, and which functions it
computes for pairs of rows. Nothing is computed."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import duckdb

from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.functions import RETURNS, Functions
from sqlinfer.sql.parsing.parameters import SqlValues
from sqlinfer.sql.parsing.parsed_calls import parsed_calls
from sqlinfer.sql.parsing.written_targets import Execute, table_exists
from sqlinfer.sql.plan import AiStatement, Write
from sqlinfer.sql.rewrite.name_parameters import own_values
from sqlinfer.sql.semantic_joins import functions_over_pairs

_EXPLAIN = "EXPLAIN (FORMAT json) "
_S = TypeVar("_S", bound=AiStatement)


def bind(statement: _S, execute: Execute, functions: Functions) -> _S:
    """The form of a statement that DuckDB takes, guarded if it can be, with over_pairs.

    Raises DuckDB's own error, or SqlinferError for a parameter that a function does not have, for an argument that is
    missing, or for a table that is there already. execute: the connection's.
    """
    try:
        plans = explained(statement.sql, execute, statement.values)
    except duckdb.Error as error:
        if statement.unguarded is not None:
            return bind(statement.without_guards(), execute, functions)
        if "does not support the supplied arguments" in str(error):
            _check_arguments(statement.sql, functions)
        raise type(error)(_without_explain(str(error))).with_traceback(None) from None
    table = statement.created_table if isinstance(statement, Write) else None
    if table is not None and table_exists(execute, table):
        raise SqlinferError(
            f"table {table} exists already; write CREATE OR REPLACE TABLE {table} to replace it, "
            f"or INSERT INTO {table} to add rows"
        )
    return replace(statement, over_pairs=_over_pairs(statement, plans, execute, functions))


def fitting(statement: _S, execute: Execute) -> _S:
    """The form of a statement of which DuckDB takes all: without guards if they do not fit, and with those of its
    early stages that do."""
    if statement.unguarded is not None and not _fits(statement.sql, statement.values, execute):
        statement = statement.without_guards()
    early = tuple(
        stage
        for stage in statement.early
        if all(_fits(query, own_values(query, statement.values), execute) for query in stage)
    )
    return replace(statement, early=early)


def _fits(sql: str, values: SqlValues, execute: Execute) -> bool:
    try:
        explained(sql, execute, values)
    except duckdb.Error:
        return False
    return True


def explained(sql: str, execute: Execute, values: SqlValues = None) -> list[str]:
    """The plans that DuckDB makes of a statement, as JSON. Raises DuckDB's own error."""
    return [plan for _, plan in execute(_EXPLAIN + sql, values).fetchall()]


def _over_pairs(statement: AiStatement, plans: list[str], execute: Execute, functions: Functions) -> frozenset[str]:
    """Guards name both sides of a join, so that what they guard stands above it: where a guarded plan shows pairs, the
    unguarded one decides."""
    over_pairs = functions_over_pairs(plans, functions)
    if over_pairs and statement.unguarded is not None:
        return functions_over_pairs(explained(statement.without_guards().sql, execute, statement.values), functions)
    return over_pairs


def _check_arguments(sql: str, functions: Functions) -> None:
    """Refuse a named parameter that the function of its call does not have, then a call without an argument that has no
    default."""
    calls = list(parsed_calls(sql, functions))
    for call in calls:
        function = call.function
        names = [*(argument.name for argument in function.arguments), *function.options]
        names += [RETURNS] if function.type_of else []
        for name in call.named:
            if name.lower() not in map(str.lower, names):
                raise SqlinferError(
                    f"{call.name} has no parameter {name}. {nearest(name.lower(), names)} "
                    f"Its signature: {function.signature}"
                )
    for call in calls:
        missing = [a.name for a in call.function.arguments if a.required and a.name.lower() not in call.arguments]
        if missing:
            signature = call.function.signature
            raise SqlinferError(f"{call.function.name} needs {' and '.join(missing)}. Its signature: {signature}")


def _without_explain(message: str) -> str:
    """DuckDB's message as if EXPLAIN had not stood before the statement; the caret moves along."""
    lines = message.split("\n")
    for number, line in enumerate(lines):
        if line.startswith("LINE 1: " + _EXPLAIN):
            lines[number] = line.replace(_EXPLAIN, "", 1)
            if number + 1 < len(lines) and lines[number + 1].strip(" ").startswith("^"):
                lines[number + 1] = lines[number + 1][len(_EXPLAIN) :]
    return "\n".join(lines)
