"""The calls of functions in a SQL text with their arguments, and the values of those that are constants."""

from __future__ import annotations

import atexit
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import duckdb

from sqlinfer.functions import Function
from sqlinfer.sql.parsing.tokens import Token, closing, split_at_commas, text_of, tokenize
from sqlinfer.sql_text import unquote

_SCHEMAS = {"main", "temp", "ai"}
_BUILDERS = {"map", "row", "struct_pack", "list_value", "array", "struct", "named_struct"}
"""What may be called in a constant."""
_LITERALS: dict[str, Any] = {"TRUE": True, "FALSE": False, "NULL": None}


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call as it is written.

    function: that it calls.
    arguments: the text of each argument, by its name in lower case.
    named: the names of the arguments that are passed by name, as written.
    name: of the function, an alias at times, in lower case.
    start: where it begins, in characters; None for one behind an expression, as in (x || y).f().
    arguments_end: where its last argument ends, in characters.
    end: where it ends itself, in characters.
    """

    function: Function
    arguments: Mapping[str, str]
    named: Sequence[str]
    name: str
    start: int | None
    arguments_end: int
    end: int

    def constant(self, name: str) -> Any:
        """The value of an argument by name; None if it is NULL or absent. Raises ValueError if it is no constant, and
        SqlinferError if it is none that the function takes."""
        value = constant(self.arguments.get(name.lower(), "NULL"))
        argument = next((a for a in self.function.arguments if a.name.lower() == name.lower()), None)
        if value is None or argument is None:
            return value
        return argument.check_constant(value, self.function.name)

    def constants(self, of: Callable[..., Any]) -> dict[str, Any] | None:
        """The arguments that a function of the file takes, by name; None if one of them is no constant."""
        values: dict[str, Any] = {}
        for name, parameter in inspect.signature(of).parameters.items():
            try:
                value = self.constant(name)
            except ValueError:
                return None
            if value is not None:
                values[name] = value
            elif parameter.default is parameter.empty:
                return None
        return values


def call_spans(tokens: Sequence[Token], names: Collection[str]) -> Iterator[tuple[int, int]]:
    """The calls of some functions: the index of the name and that of the closing parenthesis, in order of the names.

    >>> list(call_spans(tokenize("SELECT f(g(x)), t.f(y), f, g("), ["f", "g"]))
    [(1, 7), (3, 6), (11, 14)]
    """
    for index, (name, opening) in enumerate(pairwise(tokens)):
        if name.word in names and opening.text == "(":
            end = closing(tokens, index + 1)
            if end < len(tokens):
                yield index, end


def parsed_calls(sql: str, functions: Mapping[str, Function]) -> Iterator[ParsedCall]:
    """The calls of AI functions in a text, in order."""
    tokens = tokenize(sql)
    for index, end in call_spans(tokens, functions):
        function = functions[tokens[index].word]
        inside = tokens[index + 2 : end]
        parts = split_at_commas(inside, tokens[index].depth + 1) if inside else []
        if index > 1 and tokens[index - 1].text == "." and tokens[index - 2].word not in _SCHEMAS:
            parts.insert(0, [tokens[index - 2]])  # x.f(y) is f(x, y)
        arguments, named = dict[str, str](), list[str]()
        for position, part in enumerate(parts):
            if len(part) > 2 and part[1].text in (":=", "=>"):
                arguments[part[0].word] = text_of(sql, part[2:])
                named.append(part[0].text)
            elif position < len(function.arguments):
                arguments[function.arguments[position].name.lower()] = text_of(sql, part)
        start, last = _start(tokens, index), tokens[end - 1]
        yield ParsedCall(function, arguments, named, tokens[index].word, start, last.end, tokens[end].end)


def constant(text: str) -> Any:
    """The value of an expression that is made of literals alone. Raises ValueError for any other.

    >>> constant("['a', 'b' || 'c']"), constant("{'n': 1}"), constant("'it''s'"), constant("7")
    (['a', 'bc'], {'n': 1}, "it's", 7)
    """
    if re.fullmatch(r"'(?:[^']|'')*'", text):
        return unquote(text)
    if re.fullmatch(r"[0-9]{1,18}", text):
        return int(text)
    if text.upper() in _LITERALS:
        return _LITERALS[text.upper()]
    evaluated = _evaluated(text)
    if evaluated is None:
        raise ValueError(text)
    return evaluated[0]


@lru_cache(maxsize=1024)
def _evaluated(text: str) -> tuple[Any] | None:
    """The value of an expression, as DuckDB computes it; None if it is no constant."""
    tokens = tokenize(text)
    if len(tokens) == 1 and tokens[0].word:  # a column, most often
        return None
    if any(name.word and opening.text == "(" and name.word not in _BUILDERS for name, opening in pairwise(tokens)):
        return None
    try:
        with constants_connection().cursor() as cursor:
            row = cursor.execute(f"SELECT {text}").fetchone()
    except duckdb.Error:
        return None
    return None if row is None or len(row) != 1 else (row[0],)


@lru_cache(maxsize=1)
def aggregate_names() -> frozenset[str]:
    """DuckDB's own aggregates."""
    with constants_connection().cursor() as cursor:
        names = cursor.execute("SELECT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'")
        return frozenset(name for (name,) in names.fetchall())


@lru_cache(maxsize=1)
def constants_connection() -> duckdb.DuckDBPyConnection:
    """A database of its own, for what needs no other."""
    connection = duckdb.connect(config={"enable_external_access": "false"})
    atexit.register(connection.close)  # DuckDB prints a report of leaks at exit for connections that are still open
    return connection


def _start(tokens: Sequence[Token], index: int) -> int | None:
    """Where a call begins whose name is at an index: at its schema, or at the column whose method it is."""
    while index > 1 and tokens[index - 1].text == ".":
        index -= 2
    return tokens[index].start if tokens[index].word else None
