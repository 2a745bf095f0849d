"""The calls of AI functions in a SQL text with their arguments as text, and the values of those that are constants."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import duckdb

from sqlinfer.functions import Function
from sqlinfer.sql.rewrite.tokens import Token, closing, text_of, tokenize

_SCHEMAS = {"main", "temp", "ai"}
_BUILDERS = {"map", "row", "struct_pack", "list_value", "array", "struct", "named_struct"}
"""What may be called in a constant."""
_VALUES = {"true", "false", "null"}


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call as it is written. given: the text of each argument, by its name in lower case. start: where it begins, in
    characters; None for one behind an expression, as in (x || y).f(). end: where its last argument ends. close: where
    it ends itself."""

    function: Function
    given: Mapping[str, str]
    start: int | None
    end: int
    close: int

    def constant(self, name: str) -> Any:
        """The value of an argument by name; None if it is NULL or not said. Raises ValueError if it is no constant, and
        SqlinferError if it is none that the function takes."""
        value = constant(self.given.get(name.lower(), "NULL"))
        argument = next((a for a in self.function.arguments if a.name.lower() == name.lower()), None)
        if value is None or argument is None:
            return value
        return argument.check(str(value) if argument.is_text else value, self.function.name)

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


def parsed_calls(sql: str, functions: Mapping[str, Function]) -> Iterator[ParsedCall]:
    """The calls of these functions in a text, in order."""
    tokens = tokenize(sql)
    for index in range(len(tokens) - 1):
        if tokens[index].word not in functions or tokens[index + 1].text != "(":
            continue
        function, end = functions[tokens[index].word], closing(tokens, index + 1)
        if end == len(tokens):
            continue
        parts = _split(tokens[index + 2 : end])
        if index > 1 and tokens[index - 1].text == "." and tokens[index - 2].word not in _SCHEMAS:
            parts.insert(0, [tokens[index - 2]])  # x.f(y) is f(x, y)
        given: dict[str, str] = {}
        for position, part in enumerate(parts):
            if len(part) > 2 and part[1].text in (":=", "=>"):
                given[part[0].word] = text_of(sql, part[2:])
            elif position < len(function.arguments):
                given[function.arguments[position].name.lower()] = text_of(sql, part)
        yield ParsedCall(function, given, _start(tokens, index), tokens[end - 1].end, tokens[end].end)


@lru_cache(maxsize=1024)
def constant(text: str) -> Any:
    """The value of an expression that is made of literals alone. Raises ValueError for any other.

    >>> constant("['a', 'b' || 'c']"), constant("{'n': 1}")
    (['a', 'bc'], {'n': 1})
    """
    tokens = tokenize(text)
    if len(tokens) == 1 and tokens[0].word and tokens[0].word not in _VALUES:  # a column, most often
        raise ValueError(text)
    for word, opening in pairwise(tokens):
        if word.word and opening.text == "(" and word.word not in _BUILDERS:
            raise ValueError(text)
    try:
        with duckdb.connect(config={"enable_external_access": "false"}) as connection:
            row = connection.execute(f"SELECT {text}").fetchone()
    except duckdb.Error as error:
        raise ValueError(text) from error
    if row is None or len(row) != 1:
        raise ValueError(text)
    return row[0]


def _start(tokens: list[Token], index: int) -> int | None:
    """Where a call begins whose name is at an index: at its schema, or at the column whose method it is."""
    while index > 1 and tokens[index - 1].text == ".":
        index -= 2
    return tokens[index].start if tokens[index].word else None


def _split(tokens: list[Token]) -> list[list[Token]]:
    """The arguments between the parentheses of a call."""
    if not tokens:
        return []
    depth, parts = min(token.depth for token in tokens), [[]]  # type: ignore[var-annotated]
    for token in tokens:
        if token.text == "," and token.depth == depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
