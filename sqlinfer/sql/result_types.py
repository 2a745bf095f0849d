"""A pass over SQL text: calls of functions whose type depends on their arguments say that type.

`f(x, many := true)` becomes `f(x, many := true, returns := 'VARCHAR[]')`, which the macro of f turns into the column's
type. Arguments that are no constants leave a call as it is: its value is text, JSON unless it is a text itself.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import duckdb

from sqlinfer.errors import SqlinferError
from sqlinfer.functions import RETURNS, Function, sql_literal
from sqlinfer.sql.tokens import Token, closing, text_of, tokenize

_SCHEMAS = {"main", "temp", "ai"}
_BUILDERS = {"map", "row", "struct_pack", "list_value", "array", "struct", "named_struct"}
"""What may be called in a constant."""


def result_types(sql: str, functions: Mapping[str, Function]) -> str:
    """Say the type of each call whose function tells it from the arguments. Raises SqlinferError for arguments that
    the function refuses."""
    tokens = tokenize(sql)
    said: dict[int, str] = {}
    for index in range(len(tokens) - 1):
        name, opening = tokens[index], tokens[index + 1]
        function = functions[name.word] if name.word in functions and opening.text == "(" else None
        if function is None or function.type_of is None:
            continue
        end = closing(tokens, index + 1)
        parts = _split(tokens[index + 2 : end])
        if index > 1 and tokens[index - 1].text == "." and tokens[index - 2].word not in _SCHEMAS:
            parts.insert(0, [tokens[index - 2]])  # x.f(y) is f(x, y)
        sql_type = _type(sql, parts, function)
        if end < len(tokens) and sql_type not in (None, "VARCHAR"):
            written = json.dumps(sql_type, ensure_ascii=False)[1:-1]  # as it stands in the macro's JSON structure
            said[end] = f", {RETURNS} := {sql_literal(written)}"
    for end in sorted(said, reverse=True):
        at = tokens[end - 1].end
        sql = sql[:at] + said[end] + sql[at:]
    return sql


def _type(sql: str, parts: list[list[Token]], function: Function) -> str | None:
    """The SQL type of a call; None if it says one already or if it depends on what is no constant."""
    arguments = {argument.name.lower(): argument for argument in function.arguments}
    given: dict[str, str] = {}
    for position, part in enumerate(parts):
        if len(part) > 2 and part[1].text in (":=", "=>"):
            given[part[0].word] = text_of(sql, part[2:])
        elif position < len(function.arguments):
            given[function.arguments[position].name.lower()] = text_of(sql, part)
    if RETURNS in given or function.type_of is None:
        return None
    values: dict[str, Any] = {}
    for name, parameter in inspect.signature(function.type_of).parameters.items():
        text = given.get(name.lower(), "NULL")
        try:
            value = constant(text)
        except ValueError:
            return None
        if value is not None:
            argument = arguments.get(name.lower())
            values[name] = argument.check(value, function.name) if argument else value
        elif parameter.default is parameter.empty:
            return None
    return _checked(function, values)


def _checked(function: Function, values: dict[str, Any]) -> str:
    assert function.type_of is not None
    try:
        return function.type_of(**values)
    except SqlinferError as error:
        raise type(error)(f"{function.name}: {error}") from None


@lru_cache(maxsize=1024)
def constant(text: str) -> Any:
    """The value of an expression that is made of literals alone. Raises ValueError for any other.

    >>> constant("['a', 'b' || 'c']"), constant("{'n': 1}")
    (['a', 'bc'], {'n': 1})
    """
    tokens = tokenize(text)
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
