"""A lazy DuckDB relation whose answers are computed in phases when it is fetched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import duckdb

from sqlinfer.sql.error_translation import translated
from sqlinfer.sql.phases import probe_only
from sqlinfer.sql.udf.evaluator import CallEvaluator

Answered = Callable[[duckdb.DuckDBPyRelation], AbstractContextManager[object]]
_PREFETCHED_ONCE = {"fetchone", "fetchmany"}  # they go on where the last one stopped
_LAZY = {
    *("aggregate", "alias", "columns", "create_view", "cross", "cross_join", "description", "distinct", "dtypes"),
    *("except_", "explain", "filter", "intersect", "join", "limit", "order", "project", "query", "select"),
    *("select_dtypes", "select_types", "set_alias", "sort", "sql_query", "type", "types", "union"),
}


class Relation:
    """Behaves as a DuckDB relation: what derives a relation stays lazy, what fetches computes its answers first.

    relation: DuckDB's own.
    evaluator: of the calls in it.
    answered: inside, the answers of a relation are there, or its rows are scored; it keeps the session open.
    this_answered: the same for this very relation, where more is known of it than of those that derive from it.
    """

    def __init__(
        self,
        relation: duckdb.DuckDBPyRelation,
        evaluator: CallEvaluator,
        answered: Answered,
        this_answered: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        self.relation = relation
        self._evaluator = evaluator
        self._answered = answered
        self._this_answered = this_answered or partial(answered, relation)
        self._is_prefetched = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in _PREFETCHED_ONCE and self._is_prefetched:
            return partial(self._derive, getattr(self.relation, name))
        if name not in _LAZY:
            if name == "shape":
                with self._running():
                    return self.relation.shape
            value = getattr(self.relation, name)
            return partial(self._fetch, value) if callable(value) else value
        with translated(self._evaluator), probe_only(self._evaluator):
            value = getattr(self.relation, name)
        return partial(self._derive_unanswered, value) if callable(value) else value

    def __dir__(self) -> list[str]:
        """For completion: what a relation of DuckDB has too."""
        return sorted({*super().__dir__(), *dir(self.relation)})

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        with self._running(), translated(self._evaluator):
            return self.relation.to_arrow_table().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return str(self._fetch(self.relation.__repr__))

    def __str__(self) -> str:
        return str(self._fetch(self.relation.__str__))

    def __len__(self) -> int:
        return int(self._fetch(self.relation.__len__))

    def __getitem__(self, name: str) -> Relation:
        return Relation(self.relation[name], self._evaluator, self._answered)

    def _running(self) -> AbstractContextManager[object]:
        self._is_prefetched = True
        return self._this_answered()

    def _fetch(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._running():
            return self._derive(method, *args, **kwargs)

    def _derive_unanswered(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with probe_only(self._evaluator):
            return self._derive(method, *args, **kwargs)

    def _derive(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with translated(self._evaluator):
            value = method(*map(unwrap, args), **kwargs)
        is_relation = isinstance(value, duckdb.DuckDBPyRelation)
        return Relation(value, self._evaluator, self._answered) if is_relation else value


def unwrap(value: Any) -> Any:
    """A relation of ours as DuckDB's own; any other value as it is."""
    return value.relation if isinstance(value, Relation) else value
