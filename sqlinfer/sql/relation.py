"""A lazy DuckDB relation whose questions are answered in phases when it is fetched."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from sqlinfer.inference.job import recorded
from sqlinfer.sql.error_translation import translated
from sqlinfer.sql.phases import settle, silent
from sqlinfer.sql.plan import Plan, stops_early

if TYPE_CHECKING:
    from sqlinfer.sql.session import Session

_BATCH_ROWS = 10_000
_SETTLED_ONCE = {"fetchone", "fetchmany"}  # they go on where the last one stopped
_LAZY = {
    *("aggregate", "alias", "columns", "create_view", "cross", "cross_join", "description", "distinct", "dtypes"),
    *("except_", "explain", "filter", "intersect", "join", "limit", "order", "project", "query", "select"),
    *("select_dtypes", "select_types", "set_alias", "sort", "sql_query", "type", "types", "union"),
}


class Relation:
    """Behaves as a DuckDB relation: what derives a relation stays lazy, what fetches asks first.

    It keeps its session open.
    """

    def __init__(self, relation: duckdb.DuckDBPyRelation, session: Session) -> None:
        self.relation = relation
        self._session = session
        self._answerer = session.answerer
        self._is_settled = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in _SETTLED_ONCE and self._is_settled:
            return partial(self._derive, getattr(self.relation, name))
        if name not in _LAZY:
            if name == "shape":
                self._settle()
            value = getattr(self.relation, name)
            return partial(self._fetch, value) if callable(value) else value
        with translated(self._answerer), silent(self._answerer):
            value = getattr(self.relation, name)
        return partial(self._derive_silently, value) if callable(value) else value

    def __dir__(self) -> list[str]:
        """For completion: what a relation of DuckDB has too."""
        return sorted({*super().__dir__(), *dir(self.relation)})

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        self._settle()
        with translated(self._answerer):
            return self.relation.to_arrow_table().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return str(self._fetch(self.relation.__repr__))

    def __str__(self) -> str:
        return str(self._fetch(self.relation.__str__))

    def __len__(self) -> int:
        return int(self._fetch(self.relation.__len__))

    def __getitem__(self, name: str) -> Relation:
        return Relation(self.relation[name], self._session)

    def _settle(self) -> None:
        self._is_settled = True
        self._answerer.new_statement()
        sql = self.relation.sql_query()
        mentioned = self._session.mentions.find(sql)
        if not mentioned.names or mentioned.is_volatile or stops_early(sql, mentioned.names):
            return
        with translated(self._answerer), recorded(self._answerer, sql):
            self._answerer.asks_pairs = self._session.asks_pairs(Plan(sql, None, queries=(sql,)))
            settle(self._answerer, [partial(open_reader, self.relation)], mentioned.num_calls)

    def _fetch(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._settle()
        return self._derive(method, *args, **kwargs)

    def _derive_silently(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with silent(self._answerer):
            return self._derive(method, *args, **kwargs)

    def _derive(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with translated(self._answerer):
            value = method(*map(plain, args), **kwargs)
        return Relation(value, self._session) if isinstance(value, duckdb.DuckDBPyRelation) else value


def plain(value: Any) -> Any:
    """A relation of ours as DuckDB's own; any other value as it is."""
    return value.relation if isinstance(value, Relation) else value


def open_reader(relation: duckdb.DuckDBPyRelation) -> pa.RecordBatchReader:
    """A stream of a relation's rows; the connection is busy until it is drained."""
    return relation.to_arrow_reader(_BATCH_ROWS)


def left_rows(connection: duckdb.DuckDBPyConnection) -> pa.Table | None:
    """The rows that a statement left on a connection; None if it gives none."""
    names = [column[0] for column in connection.description or []]
    if not names or names in (["Count"], ["Success"]):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DuckDB advises against Arrow here; these results are small
        return connection.to_arrow_table()
