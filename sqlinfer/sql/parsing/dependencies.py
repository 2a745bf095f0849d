"""What in a statement leads to AI functions: directly, or through views, macros and prepared statements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import pairwise

import duckdb

from sqlinfer.sql.internal_names import PREFIX
from sqlinfer.sql.parsing.references import ai_columns, referenced_words, references
from sqlinfer.sql.parsing.tokens import keywords, tokenize

Definitions = dict[str, list[str]]
_DEFINITIONS = """
SELECT lower(view_name), sql FROM duckdb_views() WHERE NOT internal
UNION ALL SELECT lower(name), statement FROM duckdb_prepared_statements()
UNION ALL SELECT lower(function_name), macro_definition FROM duckdb_functions()
  WHERE function_type IN ('macro', 'table_macro') AND NOT internal
"""
_FUNCTIONS = "SELECT lower(function_name), stability FROM duckdb_functions() WHERE internal"
_REPEATABLE = {"nextval", "currval", "error"}
"""Volatile functions that need not make a statement run directly: a probe leaves sequences alone, and error() gives no
value."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a statement refers to, at any depth.

    is_ai: whether one of them is an AI function.
    names: of all functions, views and macros that lead to an AI function, in lower case.
    columns: those of the views and macros that it names whose values are what AI functions give.
    views: those with AI functions that it reads, at any depth, by name: each definition behind those that it reads.
    prepared: the text of the prepared statement that it executes; "" if it executes none.
    texts: its own, and those of the definitions that it reaches.
    num_calls: how many AI calls it has in all, those in views and macros too; at least its AI depth.
    is_volatile: whether running it again may see other rows or values (random(), uuid(), a sample).
    """

    is_ai: bool
    names: frozenset[str]
    columns: frozenset[str]
    views: tuple[tuple[str, str], ...]
    prepared: str
    texts: tuple[str, ...]
    num_calls: int
    is_volatile: bool


NO_DEPENDENCIES = Dependencies(False, frozenset(), frozenset(), (), "", (), 0, is_volatile=False)


class Catalog:
    """Resolves what the statements of one connection refer to, through its catalogue.

    The catalogue is read on a cursor when a statement has a word that was not seen before, so that the result that
    the connection may hold stays; what only the connection itself sees, is read by refresh.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, functions: Collection[str]) -> None:
        self._connection = connection
        self._functions = frozenset(functions)
        self._is_volatile_by_name: dict[str, bool] = {}
        self._seen: set[str] = set()
        self._shared: Definitions = {}
        self._local: Definitions = {}

    def resolve(self, sql: str) -> Dependencies:
        """What a statement refers to."""
        used = referenced_words(sql)
        if used - self._seen:
            self._shared = self._read_on_cursor()
            self._seen |= used
        definitions = self._shared | self._local
        leading = set(self._functions)
        while (
            more := {
                name for name, texts in definitions.items() if any(referenced_words(text) & leading for text in texts)
            }
            - leading
        ):
            leading |= more
        if not used & leading:
            return NO_DEPENDENCIES
        reached_names = _closure(used, definitions)
        reached = [text for name in reached_names for text in definitions[name]]
        is_volatile = any(self._is_volatile(text) for text in [sql, *reached])
        num_calls = _num_calls(sql, self._functions, definitions, ())
        tokens = tokenize(sql)
        prepared = definitions.get(tokens[1].word, [""])[0] if tokens[0].keyword == "EXECUTE" else ""
        views = _views({name: definitions[name][0] for name in reached_names & leading})
        return Dependencies(
            True,
            frozenset(leading),
            _columns(reached, leading),
            views,
            prepared,
            (sql, *reached),
            num_calls,
            is_volatile,
        )

    def refresh(self) -> None:
        """Read the catalogue on the connection itself: temporary and uncommitted views, macros, prepared statements."""
        self._local = self._read(self._connection)
        self._seen.clear()

    def _read_on_cursor(self) -> Definitions:
        with self._connection.cursor() as cursor:
            return self._read(cursor)

    def _read(self, connection: duckdb.DuckDBPyConnection) -> Definitions:
        """The texts of views, macros and prepared statements, by name in lower case."""
        try:
            rows = connection.execute(_DEFINITIONS).fetchall()
        except duckdb.Error:  # an aborted transaction: the statement itself will say so
            return {}
        definitions: Definitions = {}
        for name, text in rows:
            if name not in self._functions:
                definitions.setdefault(name, []).append(text)
        return definitions

    def _is_volatile(self, sql: str) -> bool:
        tokens, volatility = tokenize(sql), self._volatility()
        is_sampled = any(a.keyword == "USING" and b.keyword == "SAMPLE" for a, b in pairwise(tokens))
        is_sampled |= any(token.keyword == "TABLESAMPLE" for token in tokens)
        return is_sampled or any(volatility.get(a.word, False) for a, b in pairwise(tokens) if b.text == "(")

    def _volatility(self) -> Mapping[str, bool]:
        """DuckDB's own functions and whether they are volatile."""
        if not self._is_volatile_by_name:
            with self._connection.cursor() as cursor:
                rows = cursor.execute(_FUNCTIONS).fetchall()
            for name, stability in rows:
                if not name.startswith(PREFIX):
                    volatile = stability == "VOLATILE" and name not in _REPEATABLE
                    self._is_volatile_by_name[name] = self._is_volatile_by_name.get(name, False) or volatile
        return self._is_volatile_by_name


def _columns(texts: Sequence[str], names: Collection[str]) -> frozenset[str]:
    """The columns of some definitions, which may read from each other, that hold what AI functions give."""
    columns = frozenset[str]()
    while more := frozenset[str]().union(*(ai_columns(text, names, columns) for text in texts)) - columns:
        columns |= more
    return columns


def _views(definitions: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The views among some definitions, each behind those that it reads."""
    reads = {
        name: referenced_words(text) - {name}
        for name, text in definitions.items()
        if "VIEW" in keywords(tokenize(text)[:5])
    }
    return tuple((name, definitions[name]) for name in TopologicalSorter(reads).static_order() if name in reads)


def _closure(words: frozenset[str], definitions: Mapping[str, list[str]]) -> set[str]:
    """The definitions that some words reach."""
    reached: set[str] = set()
    open_words = set(words)
    while names := (open_words & definitions.keys()) - reached:
        reached |= names
        open_words = {word for name in names for text in definitions[name] for word in referenced_words(text)}
    return reached


def _num_calls(
    sql: str, functions: Collection[str], definitions: Mapping[str, list[str]], above: tuple[str, ...]
) -> int:
    tokens, count = tokenize(sql), 0
    for index in references(tokens):
        word = tokens[index].word
        if word in functions:
            count += 1
        elif word in definitions and word not in above and len(above) < 16:
            count += max(_num_calls(text, functions, definitions, (*above, word)) for text in definitions[word])
    return count
