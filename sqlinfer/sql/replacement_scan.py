"""The variables of whoever calls us, so that DuckDB finds their dataframes by name and never a variable of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import duckdb

from sqlinfer.sql.parsing.tokens import tokenize

_CALL = compile("__sqlinfer_call()", "<sqlinfer>", "eval")


def caller_variables() -> dict[str, Any]:
    """The global and local variables of the nearest frame outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "sqlinfer":
        frame = frame.f_back
    return {**frame.f_globals, **frame.f_locals}


def call_as(variables: Mapping[str, Any], method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a method of DuckDB from a frame that has these variables: it looks for names in the frame that calls it."""
    return eval(_CALL, {}, {**variables, "__sqlinfer_call": partial(method, *args, **kwargs)})


class ReplacementScan:
    """Calls methods of DuckDB as whoever called us. unwrap: makes of a value of ours what DuckDB knows."""

    def __init__(self, unwrap: Callable[[Any], Any]) -> None:
        self._unwrap = unwrap
        self._variables: Mapping[str, Any] = {}

    @contextmanager
    def seeing(self, variables: Mapping[str, Any]) -> Iterator[None]:
        """While open, names in SQL may mean these variables; kept no longer, so that dataframes can go."""
        self._variables = {name: self._unwrap(value) for name, value in variables.items()}
        try:
            yield
        finally:
            self._variables = {}

    def has_relation(self, sql: str) -> bool:
        """Whether a word in SQL is the name of a variable that is a relation of DuckDB."""
        words = {token.text for token in tokenize(sql) if token.word}
        return any(isinstance(self._variables.get(word), duckdb.DuckDBPyRelation) for word in words)

    def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of DuckDB."""
        return call_as(self._variables, method, *args, **kwargs)
