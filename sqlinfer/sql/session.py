"""The live handle that sqlinfer.connect returns: a DuckDB connection whose statements run in phases."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import duckdb

from sqlinfer.inference.job import ShowProgress, show_nothing
from sqlinfer.inference.progress import in_notebook
from sqlinfer.inference.runner import JobRunner
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.error_translation import translated
from sqlinfer.sql.parsing.parameters import SqlValues
from sqlinfer.sql.parsing.split_statements import split_statements
from sqlinfer.sql.phases import probe_only
from sqlinfer.sql.plan import Direct, Query, Statement
from sqlinfer.sql.relation import Relation, unwrap
from sqlinfer.sql.replacement_scan import ReplacementScan, caller_variables
from sqlinfer.sql.rows import Rows
from sqlinfer.sql.statement_runner import StatementRunner
from sqlinfer.sql.udf.evaluator import CallEvaluator
from sqlinfer.sql.udf.registration import UdfRegistration

_LAZY_PARAMETERS = not duckdb.__version__.startswith("1.")
"""DuckDB 1.5 runs a relation with parameters when it is made, 2.0 when it is fetched."""
_OPEN: weakref.WeakSet[Session] = weakref.WeakSet()


class Session:
    """Behaves as a DuckDB connection: what is not here is the connection's own.

    Statements with AI functions are probed first, their answers computed in full batches, then run. Results of
    `sql` are relations, `execute` leaves its result on the session. `job` records what runs inside as one job.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, runtime: Runtime, show_progress: ShowProgress | None = None
    ) -> None:
        show = show_progress or in_notebook() or show_nothing
        self.runtime = runtime
        self.evaluator = CallEvaluator(JobRunner(runtime, show_progress=show))
        self.job = self.evaluator.runner.record
        self._connection = connection
        self._caller = ReplacementScan(unwrap)
        self._binding = UdfRegistration(connection, self.evaluator, has_text=True)
        self.statements = StatementRunner(connection, self.evaluator, self._caller)
        self._closed = False
        runtime.retain()
        _OPEN.add(self)

    def execute(self, query: Any, parameters: SqlValues = None, *args: Any, **kwargs: Any) -> Session:
        """Run one statement or several; parameters go to the last. The result is fetched from the session."""
        if not isinstance(query, str):
            with translated(self.evaluator):
                self._connection.execute(query, parameters, *args, **kwargs)
            return self
        statements = split_statements(query)
        with self._caller.seeing(caller_variables()):
            self._run_whole(statements[:-1])
            if statements:
                self.statements.run(self.statements.plan(statements[-1], parameters, runs=True))
        return self

    def executemany(self, query: str, parameters: Sequence[Any] | None = None) -> Session:
        """Run a statement once for each of a list of parameters."""
        rows = list(parameters or [])
        if not rows or isinstance(self.statements.plan(query), Direct):
            self._connection.executemany(query, parameters)
            return self
        with self._caller.seeing(caller_variables()):
            self.statements.run_many(query, rows)
        return self

    def sql(self, query: Any, *, alias: str = "", params: SqlValues = None) -> Any:
        """A query as a lazy relation; its answers are computed when it is fetched. Other statements run at once."""
        if not isinstance(query, str):
            return self._call(self._connection.sql, query, alias=alias, params=params)
        statements = split_statements(query)
        if not statements:
            return None
        with self._caller.seeing(caller_variables()):
            self._run_whole(statements[:-1])
            return self._lazy(self.statements.plan(statements[-1], params, runs=True), alias)

    query = from_query = sql

    def begin(self) -> Session:
        """Begin a transaction."""
        return self.execute("BEGIN")

    def commit(self) -> Session:
        """Commit the transaction."""
        return self.execute("COMMIT")

    def rollback(self) -> Session:
        """Undo the transaction."""
        return self.execute("ROLLBACK")

    def cursor(self) -> Session:
        """Another connection to the same database, with the same functions, store and engines."""
        return Session(self._connection.cursor(), self.runtime)

    duplicate = cursor

    def interrupt(self) -> None:
        """Stop the running statement, from another thread or a signal handler; finished answers are kept."""
        self.evaluator.runner.cancel.set()
        self._connection.interrupt()

    def close(self) -> None:
        """Close the connection; the last session of a family closes the store too."""
        if self._closed:
            return
        self._closed = True
        self._binding.close()
        self._connection.close()
        self.runtime.release()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._connection, name)
        return partial(self._call, value) if callable(value) else value

    def __dir__(self) -> list[str]:
        """For completion: what a connection has too."""
        return sorted({*super().__dir__(), *dir(self._connection)})

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with translated(self.evaluator):
            value = method(*map(unwrap, args), **kwargs)
        if value is self._connection:
            return self
        return self._relation(value)

    def _relation(self, value: Any) -> Any:
        is_relation = isinstance(value, duckdb.DuckDBPyRelation)
        return Relation(value, self.evaluator, self._answered) if is_relation else value

    def rows(self, text: str) -> Rows | None:
        """Run one statement, its query as the rows are read; None if it gives none. Errors of DuckDB may come then."""
        with self._caller.seeing(caller_variables()), translated(self.evaluator):
            return self.statements.rows(text)

    def _answered(self, relation: duckdb.DuckDBPyRelation) -> AbstractContextManager[None]:
        return self.statements.relation_answered(relation)  # by way of the session, which a relation keeps open

    def _lazy(self, statement: Statement, alias: str) -> Any:
        with translated(self.evaluator):
            if isinstance(statement, Query | Direct):
                return self._lazy_query(statement, alias)
            return self._relation(self.statements.run_for_rows(statement))

    def _lazy_query(self, statement: Query | Direct, alias: str) -> Any:
        if isinstance(statement, Query):
            statement = self.statements.bind(statement)
        make = partial(self._caller.call, self._connection.sql, statement.sql, alias=alias, params=statement.values)
        if statement.values is not None and not _LAZY_PARAMETERS:
            if isinstance(statement, Query):
                self.statements.prefetch_answers(statement)
            return self._relation(make())
        with probe_only(self.evaluator):
            relation = make()
        if isinstance(statement, Direct) or not statement.queries or self._caller.has_relation(statement.text):
            return self._relation(relation)
        stages = self.statements.lazy_stages(statement, relation)
        return Relation(relation, self.evaluator, self._answered, partial(self.statements.answered, statement, stages))

    def _run_whole(self, texts: Sequence[str]) -> None:
        """Run statements whose rows nobody reads. DuckDB 2.0 refuses others while one has rows left."""
        for text in texts:
            self.statements.run(self.statements.plan(text, runs=True))
            with translated(self.evaluator):
                getattr(self._connection, "complete", bool)()


@atexit.register
def _close_all() -> None:
    """DuckDB prints a report of leaks at exit for connections that are still open."""
    for session in list(_OPEN):
        session.close()
