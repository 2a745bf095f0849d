"""Answers the calls of a plain connection statement by statement: DuckDB tells a function the text of the statement
that runs, and at its first chunk all its questions are asked, in phases, on another connection to the same database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import duckdb
import pyarrow as pa

from sqlinfer.functions import Function
from sqlinfer.inference.cancellation import holding
from sqlinfer.inference.counters import JobCounters
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.plan import AiStatement
from sqlinfer.sql.session import Session
from sqlinfer.sql.udf.evaluator import CallEvaluator

STATEMENT = "current_query(), txid_current()::BIGINT"
"""The SQL of what tells one statement from another: the same text runs again in another transaction."""


class Watch(Protocol):
    """Who wants to know how far statements are."""

    def asking(self, statement: str) -> Callable[[JobCounters], None]:
        """The questions of a statement are asked now; what comes back is called with the counts after each."""

    def settled(self, statement: str, counts: JobCounters) -> None:
        """All questions of a statement were asked."""


class StatementPrefetch:
    """The calls of one plain connection. open_other: another connection to the same database.

    What only the connection itself sees (its temporary tables, its uncommitted rows, variables of Python) is asked
    chunk by chunk, as it comes.
    """

    def __init__(self, open_other: Callable[[], duckdb.DuckDBPyConnection], runtime: Runtime, watch: Watch) -> None:
        self._open_other = open_other
        self.runtime = runtime
        self._watch = watch
        self._settling = threading.Lock()
        self._statement: tuple[str, int] | None = None
        self._error: Exception | None = None
        self._answerer = CallEvaluator(runtime)

    def answer(self, function: Function, columns: list[pa.ChunkedArray]) -> pa.Array:
        """The values of one chunk; columns: the arguments of the function, the struct of options, and STATEMENT."""
        *columns, texts, transactions = columns
        return self._answerer_of((texts[0].as_py(), transactions[0].as_py())).answer(function, columns)

    def interrupt(self) -> None:
        """Stop asking; finished answers are kept."""
        self._answerer.cancel.set()

    def _answerer_of(self, statement: tuple[str, int]) -> CallEvaluator:
        """Who answers the calls of a statement, when its questions have been asked; its other chunks wait meanwhile."""
        with holding(self._settling, self._answerer.cancel):
            return self._prefetched(statement)

    def _prefetched(self, statement: tuple[str, int]) -> CallEvaluator:
        try:
            if statement != self._statement:
                self._statement, self._error = statement, None
                self._settle(statement[0])
            if self._error is not None:
                raise self._error
            return self._answerer
        except Exception as error:
            self._error = error
            raise

    def _settle(self, text: str) -> None:
        with Session(self._open_other(), self.runtime) as session:
            self._answerer = session.answerer
            self._answerer.progress = self._watch.asking(text)
            try:
                statement = session.plan(text)
                if not isinstance(statement, AiStatement) or not statement.queries:
                    return
                session.prefetch_answers(statement.without_guards())  # what runs is not guarded either
            except duckdb.Error:  # the other connection does not see what this one sees
                return
            self._watch.settled(text, self._answerer.counts)
