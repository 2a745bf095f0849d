"""Evaluates the calls of a plain connection statement by statement: DuckDB gives a function the text of the statement
that runs, and at its first chunk all its answers are computed, in phases, on another connection to the same database.
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
from sqlinfer.inference.job import ShowProgress
from sqlinfer.inference.runner import JobRunner
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.plan import AiStatement
from sqlinfer.sql.session import Session
from sqlinfer.sql.udf.evaluator import CallEvaluator

STATEMENT = "current_query(), txid_current()::BIGINT"
"""The SQL of what tells one statement from another: the same text runs again in another transaction."""


class StatementObserver(Protocol):
    """Hears how far statements are."""

    def started(self, statement: str) -> ShowProgress:
        """The answers of a statement are computed now; gives what shows how far they are."""

    def finished(self, statement: str, counts: JobCounters) -> None:
        """All answers of a statement are there."""


class StatementPrefetch:
    """The calls of one plain connection. open_other: another connection to the same database.

    What only the connection itself sees (its temporary tables, its uncommitted rows, variables of Python) is computed
    chunk by chunk, as it comes.
    """

    def __init__(
        self, open_other: Callable[[], duckdb.DuckDBPyConnection], runtime: Runtime, observer: StatementObserver
    ) -> None:
        self._open_other = open_other
        self.runtime = runtime
        self._observer = observer
        self._lock = threading.Lock()
        self._statement: tuple[str, int] | None = None
        self._error: Exception | None = None
        self._evaluator = CallEvaluator(JobRunner(runtime))

    def evaluate(self, function: Function, columns: list[pa.ChunkedArray]) -> pa.Array:
        """The values of one chunk; columns: the arguments of the function, the struct of options, and STATEMENT."""
        *columns, texts, transactions = columns
        return self._evaluator_of((texts[0].as_py(), transactions[0].as_py())).evaluate(function, columns)

    def interrupt(self) -> None:
        """Stop computing; finished answers are kept."""
        self._evaluator.runner.cancel.set()

    def _evaluator_of(self, statement: tuple[str, int]) -> CallEvaluator:
        """The evaluator of a statement, when its answers are there; its other chunks wait meanwhile."""
        with holding(self._lock, self._evaluator.runner.cancel):
            try:
                if statement != self._statement:
                    self._statement, self._error = statement, None
                    self._prefetch(statement[0])
                if self._error is not None:
                    raise self._error
                return self._evaluator
            except Exception as error:
                self._error = error
                raise

    def _prefetch(self, text: str) -> None:
        with Session(self._open_other(), self.runtime, self._observer.started(text)) as session:
            self._evaluator = session.evaluator
            try:
                statement = session.statements.plan(text)
                if not isinstance(statement, AiStatement):
                    return
                statement = statement.without_guards()  # what runs is not guarded either
                with session.job(text) as job, job.writing(statement.target):
                    session.statements.prefetch_answers(session.statements.bind_selects(statement))
                if not statement.queries:
                    return
            except duckdb.Error:  # the other connection does not see what this one sees
                return
            self._observer.finished(text, session.evaluator.job.counts)
