"""Which names lead to an AI function: the functions, and the views, macros and prepared statements above them."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any

import duckdb

from sqlinfer.sql.tokens import Token, tokenize

PREFIX = "__sqlinfer_"
"""How the names of the user-defined functions under our macros begin."""


def words(tokens: list[Token]) -> frozenset[str]:
    """The names that a text uses, in lower case."""
    return frozenset(token.word for token in tokens if token.word)


class Mentions:
    """Tells whether a statement on one connection leads to an AI function, at any depth."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, functions: Collection[str]) -> None:
        self._connection = connection
        self._functions = frozenset(functions)
        self._built_in: frozenset[str] | None = None

    def names(self, tokens: list[Token]) -> frozenset[str]:
        """The words of a statement that lead to an AI function; empty if it needs no model."""
        used = words(tokens)
        leading = self._leading(tokens)
        return frozenset(word for word in used if word in leading)

    def _leading(self, tokens: list[Token]) -> frozenset[str]:
        definitions = self._rows("SELECT lower(view_name), sql FROM duckdb_views() WHERE NOT internal")
        if any(token.keyword == "EXECUTE" for token in tokens[:1]):
            definitions += self._rows("SELECT lower(name), statement FROM duckdb_prepared_statements()")
        called = _called(tokens).union(*(_definition_calls(sql) for _, sql in definitions))
        if called - self._functions - self._internal():
            definitions += self._rows(
                "SELECT lower(function_name), macro_definition FROM duckdb_functions() "
                "WHERE function_type IN ('macro', 'table_macro') AND NOT internal"
            )
        leading = self._functions
        while True:
            more = {name for name, sql in definitions if name not in leading and _definition_words(sql) & leading}
            if not more:
                return leading
            leading |= more

    def _internal(self) -> frozenset[str]:
        if self._built_in is None:
            found = self._rows(
                f"SELECT DISTINCT lower(function_name), '' FROM duckdb_functions() WHERE internal "
                f"AND function_name NOT LIKE '{PREFIX}%'"
            )
            self._built_in = frozenset(name for name, _ in found)
        return self._built_in

    def _rows(self, sql: str) -> list[Any]:
        try:
            return self._connection.execute(sql).fetchall()
        except duckdb.Error:  # an aborted transaction: the statement itself will say so
            return []


def _called(tokens: list[Token]) -> frozenset[str]:
    return frozenset(a.word for a, b in zip(tokens, tokens[1:], strict=False) if a.word and b.text == "(")


@lru_cache(maxsize=4096)
def _definition_words(sql: str) -> frozenset[str]:
    return words(tokenize(sql))


@lru_cache(maxsize=4096)
def _definition_calls(sql: str) -> frozenset[str]:
    return _called(tokenize(sql))
