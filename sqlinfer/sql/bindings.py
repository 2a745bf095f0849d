"""Our functions on a DuckDB connection: user-defined functions in the database, TEMP macros on the connection.

The user-defined functions live in the database instance, and DuckDB frees their code with the connection that made
them: so one connection of ours, the anchor, makes them and stays open as long as any session uses the instance.
The macros give names, defaults and named parameters; they carry the number of the connection's answerer.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any, cast

import duckdb
import pyarrow as pa

from sqlinfer.functions import Argument, Function
from sqlinfer.sql.answerer import Answerer
from sqlinfer.sql.columns import arrow_type
from sqlinfer.sql.mentions import PREFIX

_ANSWERERS: dict[int, Answerer] = {}
_NUMBERS = itertools.count(1)
_ANCHORS: dict[int, _Anchor] = {}
_LOCK = threading.Lock()
_MARK = PREFIX + "anchor"


class _Anchor:
    """The connection that owns the user-defined functions of one database instance."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.types: dict[str, str] = {}
        self.num_users = 0

        def mark(*_: Any) -> pa.Array:
            return pa.array([number], type=pa.int32())

        self._create(_MARK, mark, "INTEGER")

    def provide(self, function: Function) -> None:
        """Create the user-defined function under a macro, once."""
        made = self.types.setdefault(function.name, function.returns)
        if made != function.returns:
            raise duckdb.CatalogException(
                f"{function.name} returns {made} in another open session on this database, and {function.returns} "
                f"in this one ({function.path}); close the other session first"
            )
        self._create(PREFIX + function.name, _dispatch(function.name, function.returns), function.returns)

    def _create(self, name: str, call: Callable[..., pa.Array], returns: str) -> None:
        try:
            create = cast("Callable[..., object]", self.connection.create_function)  # its stubs know no Arrow functions
            create(name, call, None, returns, type="arrow", null_handling="special")
        except (duckdb.CatalogException, duckdb.NotImplementedException) as error:
            if "exist" not in str(error) and "already" not in str(error):
                raise

    def close(self) -> None:
        for name in [*(PREFIX + name for name in self.types), _MARK]:
            self.connection.remove_function(name)
        self.connection.close()


class Binding:
    """One connection's use of the functions; close it before the connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, answerer: Answerer) -> None:
        self.number = next(_NUMBERS)
        _ANSWERERS[self.number] = answerer
        functions = answerer.runtime.functions
        with _LOCK:
            self._anchor = _anchor(connection)
            self._anchor.num_users += 1
            for name, function in functions.items():
                if name == function.name:
                    self._anchor.provide(function)
        for name, function in functions.items():
            connection.execute(macro(name, function, self.number))

    def close(self) -> None:
        """Let go of the functions; the last binding on a database takes them away."""
        with _LOCK:
            if _ANSWERERS.pop(self.number, None) is None:
                return
            self._anchor.num_users -= 1
            if self._anchor.num_users == 0:
                del _ANCHORS[self._anchor.number]
                self._anchor.close()


def macro(name: str, function: Function, number: int) -> str:
    """The SQL that makes the macro of a function for the answerer of a number."""
    own = [_quoted(argument.name) for argument in function.arguments]
    defaults = [_quoted(a.name) + ("" if a.required else " := NULL") for a in function.arguments]
    options = [f"{_quoted(option)} := NULL" for option in function.options]
    arguments = [_cast(argument) for argument in function.arguments]
    struct = ", ".join(f"{option!r}: {_quoted(option)}" for option in function.options)
    assert own  # functions without arguments are refused when they load
    return (
        f"CREATE OR REPLACE TEMP MACRO {_quoted(name)}({', '.join(defaults + options)}) AS "
        f"{PREFIX}{function.name}({number}, {', '.join(arguments)}, {{{struct}}})"
    )


def _anchor(connection: duckdb.DuckDBPyConnection) -> _Anchor:
    # Looked up in the catalogue: a call of a function that is not there would abort the user's transaction.
    found = connection.execute("SELECT 1 FROM duckdb_functions() WHERE function_name = ?", [_MARK]).fetchall()
    if found:
        (number,) = connection.execute(f"SELECT {_MARK}(0)").fetchall()[0]
        return _ANCHORS[number]
    number = next(_NUMBERS)
    _ANCHORS[number] = _Anchor(connection.cursor(), number)
    return _ANCHORS[number]


def _dispatch(name: str, returns: str) -> Callable[..., pa.Array]:
    """The user-defined function of a name: the first column says whose call it is."""

    def call(*columns: pa.ChunkedArray) -> pa.Array:
        if len(columns[0]) == 0:
            return pa.array([], type=arrow_type(returns))
        return _ANSWERERS[columns[0][0].as_py()].answer(name, list(columns[1:]))

    return call


def _cast(argument: Argument) -> str:
    """Texts take any type; the other kinds are checked when they come."""
    return f"{_quoted(argument.name)}::VARCHAR" if argument.kind is str else _quoted(argument.name)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
