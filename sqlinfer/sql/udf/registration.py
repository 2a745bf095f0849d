"""Our functions on a DuckDB connection: user-defined functions under TEMP macros.

User-defined functions live in the database instance, but DuckDB frees their code with the connection that made them.
So each connection has its own, under names that carry its number, and macros, which belong to the connection too, give
them their SQL names, defaults and named parameters.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

import duckdb
import pyarrow as pa

from sqlinfer.functions import Function
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.internal_names import PREFIX, SITE
from sqlinfer.sql.udf.arrow_rows import arrow_type
from sqlinfer.sql.udf.evaluator import CallEvaluator
from sqlinfer.sql.udf.macros import MakeCall, macro
from sqlinfer.sql.udf.row_scoring import RowScoring
from sqlinfer.sql.udf.system_tables import SystemTables
from sqlinfer.sql_text import quote_identifier

_NUMBERS = itertools.count(1)


class Evaluator(Protocol):
    """Evaluates calls, a chunk at a time. columns: the arguments, the struct of options, and the further ones of the
    registration."""

    @property
    def runtime(self) -> Runtime: ...

    def evaluate(self, function: Function, columns: list[pa.ChunkedArray]) -> pa.Array: ...


class UdfRegistration:
    """The functions on one connection; close it before the connection. further: the SQL of more arguments for the
    evaluator. has_text: somebody reads the text of each statement before DuckDB does, and sees missing arguments."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, evaluator: Evaluator, further: str = "", has_text: bool = False
    ) -> None:
        self._connection = connection
        self._made: list[str] = []
        self._macros = list(evaluator.runtime.functions)
        number = next(_NUMBERS)
        self._tables = SystemTables(connection, evaluator.runtime.store, number)
        create = cast("Callable[..., object]", connection.create_function)  # its stubs know no Arrow functions
        for name, function in evaluator.runtime.functions.items():
            under = f"{PREFIX}{number}_{function.name}"
            if under not in self._made:
                call = _call(partial(evaluator.evaluate, function), function.returns)
                create(under, call, None, function.returns, type="arrow", null_handling="special")
                self._made.append(under)
            make_call = _local(under, further)
            if function.scored and isinstance(evaluator, CallEvaluator):
                make_call = self._scored(under, function, RowScoring(evaluator), make_call, has_text)
            connection.execute(macro(name, function, make_call, has_text, not has_text))

    def _scored(
        self, under: str, function: Function, scoring: RowScoring, make_call: MakeCall, has_sites: bool
    ) -> MakeCall:
        """Calls whose rows go to the model as they are, if it is one whose results are not kept; else other calls."""
        create = cast("Callable[..., object]", self._connection.create_function)
        is_scored, score = f"{under}_is_scored", f"{under}_rows"
        if score not in self._made:
            kind = {"type": "arrow", "null_handling": "special"}
            create(is_scored, scoring.is_scored, ["VARCHAR"], "BOOLEAN", **kind)
            create(score, _call(partial(scoring.score, function), "VARCHAR"), None, "VARCHAR", **kind)
            self._made += [is_scored, score]
        model, value = f"{quote_identifier('model')}::VARCHAR", quote_identifier(function.scored)
        fields = {"on_error": quote_identifier("on_error")} | ({SITE: quote_identifier(SITE)} if has_sites else {})
        options = ", ".join(f"{field!r}: {sql}" for field, sql in fields.items())
        scored = f"{score}({model}, {value}, {{{options}}})"
        return lambda *arguments: f"CASE WHEN {is_scored}({model}) THEN {scored} ELSE {make_call(*arguments)} END"

    def close(self) -> None:
        """Take the functions away, unless the connection is closed already.

        The macros go first: DuckDB 1.5 lets a macro call code that is gone.
        """
        self._tables.close()
        try:
            while self._macros:
                self._connection.execute(f"DROP MACRO IF EXISTS temp.{quote_identifier(self._macros.pop())}")
            while self._made:
                self._connection.remove_function(self._made.pop())
        except duckdb.Error:
            self._made.clear()


def _local(under: str, further: str) -> MakeCall:
    """Calls of the user-defined function of a name."""
    also = [further] if further else []
    return lambda arguments, options: f"{under}({', '.join([*arguments, options, *also])})"


def _call(evaluate: Callable[[list[pa.ChunkedArray]], pa.Array], returns: str) -> Callable[..., pa.Array]:
    def call(*columns: pa.ChunkedArray) -> pa.Array:
        if len(columns[0]) == 0:
            return pa.array([], type=arrow_type(returns))
        return evaluate(list(columns))

    return call
