"""Calls of every SQL function with one argument or option left open, and what may be written there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from sqlinfer.functions import RETURNS, Function, load_functions
from sqlinfer.sql.udf.call import as_json
from sqlinfer.sql_text import quote_identifier

FUNCTIONS = load_functions(Path(__file__).parent / "sql" / "udfs")
NAMES = sorted({function.name for function in FUNCTIONS.values()} | set(FUNCTIONS.list_names.values()))
MANIFOLD = ["ai_agg_list", "ai_classify", "ai_query", "spell"]
"""Functions that take arguments of all kinds between them."""
REFUSED = "refused"


@dataclass(frozen=True)
class Value:
    """A value of an argument as a literal, its type, and in Python."""

    literal: str
    sql_type: str
    python: Any


_TEXT = Value("'a good text'", "VARCHAR", "a good text")
_TEXTS = Value("['good', 'bad']", "VARCHAR[]", ["good", "bad"])
_NUMBER = Value("1", "INTEGER", 1)
_WORDS = {
    "model": "echo", "on_error": "null", "overflow": "error", "stop": ".", "returnType": "VARCHAR",
    "responseFormat": '{"type": "text"}', "shape": "VARCHAR", RETURNS: "VARCHAR",
}  # fmt: skip
_NAMED = {name: Value(f"'{word}'", "VARCHAR", word) for name, word in _WORDS.items()} | {
    "labels": _TEXTS,
    "fields": _TEXTS,
    "modelParameters": Value("{'top_p': 1}", "STRUCT(top_p INTEGER)", {"top_p": 1}),
}
_OF_TYPE: dict[Any, Value] = {
    bool: Value("true", "BOOLEAN", True),
    int: _NUMBER,
    float: Value("0.5::DOUBLE", "DOUBLE", 0.5),
    list[str]: _TEXTS,
}


@dataclass(frozen=True)
class OpenCall:
    """A call with one argument left open, and a value for it."""

    name: str
    arguments: tuple[str, ...]
    value: Value

    def given(self, value: str) -> str:
        """The SQL of the call with a value for the open argument."""
        return f"{quote_identifier(self.name)}({', '.join(self.arguments).replace('?', value)})"

    def beside(self, value: str) -> str:
        """The call, and the same value under a cast, which tells DuckDB its type."""
        return f"{self.given(value)}, {value}::{self.value.sql_type}"


def open_calls(name: str) -> list[OpenCall]:
    """For each argument and option of a function a call that leaves it open; options are left out else."""
    function = FUNCTIONS[name]
    values = {a.name: _value(function, name, a.name, a.python_type) for a in function.arguments}
    required = [a.name for a in function.arguments if a.required]
    optional = [a.name for a in function.arguments if not a.required] + list(function.options)
    optional += [RETURNS] if function.type_of else []
    literals = [values[each].literal for each in required]
    calls = [
        OpenCall(name, (*literals[:position], "?", *literals[position + 1 :]), values[each])
        for position, each in enumerate(required)
    ]
    return calls + [
        OpenCall(name, (*literals, f"{quote_identifier(each)} := ?"), values.get(each) or _NAMED.get(each, _NUMBER))
        for each in optional
    ]


def one_by_one(connection: Any, name: str) -> list[OpenCall]:
    """The calls of a function that are not refused. Each gives for a parameter what it gives for a literal, in a
    statement of its own: what DuckDB knows of one parameter must not help another."""
    answered = []
    for call in open_calls(name):
        expected = outcome(connection, f"SELECT {call.beside(call.value.literal)}")
        assert prepared(connection, f"SELECT {call.beside('$1')}", call.value.literal) == expected, call
        if expected != REFUSED:
            answered.append(call)
    return answered


def each_way(connection: Any, calls: list[OpenCall]) -> dict[str, Any]:
    """What calls give side by side for values that are written in each way."""
    literals = [call.value.literal for call in calls]
    pythons = [call.value.python for call in calls]
    names = [f"v{position}" for position in range(len(calls))]
    numbers = [f"${position}" for position in range(1, len(calls) + 1)]

    def select(values: list[str]) -> str:
        return "SELECT " + ", ".join(call.beside(value) for call, value in zip(calls, values, strict=True))

    def named(sign: str) -> str:
        return ", ".join(f"{name} {sign} {literal}" for name, literal in zip(names, literals, strict=True))

    connection.execute(f"SET VARIABLE said = {{{named(':')}}}")
    connection.execute(f"CREATE OR REPLACE TEMP MACRO users_own({', '.join(names)}) AS TABLE {select(names)}")
    variables = select([f"getvariable('said').{name}" for name in names])
    connection.execute(f"CREATE OR REPLACE TEMP VIEW seen AS {variables}")
    casts = [f"{number}::{call.value.sql_type}" for number, call in zip(numbers, calls, strict=True)]
    return {
        "literal": outcome(connection, select(literals)),
        "numbers": prepared(connection, select(numbers), ", ".join(literals)),
        "names": prepared(connection, select([f"${name}" for name in names]), named(":=")),
        "casts": prepared(connection, select(casts), ", ".join(literals)),
        "macro": prepared(connection, f"FROM users_own({', '.join(numbers)})", ", ".join(literals)),
        "variables": outcome(connection, variables),
        "view": outcome(connection, "FROM seen"),
        "Python": outcome(connection, select(numbers), pythons),
        "Python, by name": outcome(
            connection, select([f"${name}" for name in names]), dict(zip(names, pythons, strict=True))
        ),
    }


def prepared(connection: Any, select: str, values: str) -> Any:
    """What EXECUTE gives, the second time as the first."""
    connection.execute(f"PREPARE asked AS {select}")
    first, again = (outcome(connection, f"EXECUTE asked({values})") for _ in range(2))
    assert first == again
    return first


def outcome(connection: Any, sql: str, values: Any = None) -> Any:
    """The rows of a statement, or that it is refused; the database must outlive it. Structures and lists are their JSON
    text, which they are anyway where the text of a call does not say its type."""
    try:
        return [tuple(map(_as_text, row)) for row in connection.execute(sql, values).fetchall()]
    except Exception as error:  # noqa: BLE001 - whatever it is
        assert not isinstance(error, (duckdb.InternalException, duckdb.FatalException)), f"{sql}: {error}"
        return REFUSED


def _as_text(value: Any) -> Any:
    return as_json(value).replace(", ", ",").replace(": ", ":") if isinstance(value, (dict, list)) else value


def _value(function: Function, name: str, argument: str, python_type: Any) -> Value:
    if name in function.list_names and argument == function.arguments[0].name:
        return _TEXT
    return _NAMED.get(argument) or _OF_TYPE.get(python_type, _TEXT)
