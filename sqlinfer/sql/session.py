"""The live handle that sqlinfer.connect returns: a DuckDB connection whose statements run in phases."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from sqlinfer.errors import SqlinferError
from sqlinfer.inference.job import Job, ShowProgress, show_nothing
from sqlinfer.inference.progress import in_notebook
from sqlinfer.inference.runner import JobRunner
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.bind import bind, fits
from sqlinfer.sql.commands.model_statements import run_model_statement
from sqlinfer.sql.commands.set_statements import run_set_statement
from sqlinfer.sql.error_translation import translated
from sqlinfer.sql.parsing.parameters import SqlValues
from sqlinfer.sql.parsing.references import References
from sqlinfer.sql.parsing.split_statements import split_statements
from sqlinfer.sql.parsing.written_targets import table_exists
from sqlinfer.sql.phases import OpenReader, prefetch_answers, probe_only
from sqlinfer.sql.plan import (
    AiStatement,
    Direct,
    DuckDBStatement,
    ModelCommand,
    Query,
    Quiet,
    SetCommand,
    Statement,
    Write,
    plan,
    stops_early,
)
from sqlinfer.sql.relation import Relation, open_reader, open_result, unwrap
from sqlinfer.sql.replacement_scan import ReplacementScan, call_as, caller_variables
from sqlinfer.sql.rewrite.context import RewriteContext
from sqlinfer.sql.rewrite.name_parameters import own_values
from sqlinfer.sql.rewrite.semantic_joins import semantic_joins
from sqlinfer.sql.udf.evaluator import CallEvaluator
from sqlinfer.sql.udf.registration import UdfRegistration

_LAZY_PARAMETERS = not duckdb.__version__.startswith("1.")
"""DuckDB 1.5 runs a relation with parameters when it is made, 2.0 when it is fetched."""
_S = TypeVar("_S", bound=AiStatement)
_OPEN: weakref.WeakSet[Session] = weakref.WeakSet()


class Session:
    """Behaves as a DuckDB connection: what is not here is the connection's own.

    Statements with AI functions are probed first, their answers computed in full batches, then run. Results of
    `sql` are relations, `execute` leaves its result on the session.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, runtime: Runtime, show_progress: ShowProgress | None = None
    ) -> None:
        show = show_progress or in_notebook() or show_nothing
        self.runtime = runtime
        self.evaluator = CallEvaluator(JobRunner(runtime, show_progress=show))
        self._connection = connection
        self._caller = ReplacementScan(unwrap)
        self._binding = UdfRegistration(connection, self.evaluator, has_text=True)
        self.references = References(connection, runtime.functions)
        self._closed = False
        self._in_transaction = False
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
                self.run(self.plan(statements[-1], parameters, runs=True))
        return self

    def executemany(self, query: str, parameters: Sequence[Any] | None = None) -> Session:
        """Run a statement once for each of a list of parameters."""
        if isinstance(self.plan(query), Direct):
            self._connection.executemany(query, parameters)
            return self
        for values in parameters or []:
            self.execute(query, values)
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
            return self._lazy(self.plan(statements[-1], params, runs=True), alias)

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
        return Relation(value, self.evaluator, self._prefetch_relation) if is_relation else value

    def job(
        self,
        label: str,
        settings: Mapping[str, Any] | None = None,
        *,
        show_progress: ShowProgress | None = None,
        retry_hint: str | None = None,
        only: frozenset[bytes] | None = None,
    ) -> AbstractContextManager[Job]:
        """Record what runs inside as one job; see JobRunner.record."""
        return self.evaluator.runner.record(
            label, settings, show_progress=show_progress, retry_hint=retry_hint, only=only
        )

    def plan(self, text: str, parameters: SqlValues = None, *, runs: bool = False) -> Statement:
        """What one statement is. runs: whether it will run, so that what it writes over matters."""
        settings = self.runtime.settings.over()
        context = RewriteContext(
            self.runtime.functions,
            embedding_width=lambda model: self.runtime.embedding_width(model or self.evaluator.defaults.model),
            ai_schema=settings.ai_schema,
            parameters=parameters,
            output_action=settings.output_action,
            table_exists=partial(table_exists, self._execute),
        )
        with translated(self.evaluator):
            return plan(text, context, self.references, runs and not self.is_summary_only)

    def run(self, statement: Statement) -> None:
        """Run a statement; its rows are left on the connection."""
        with translated(self.evaluator):
            match statement:
                case ModelCommand():
                    models = run_model_statement(self.runtime.store.registry, statement.text)
                    call_as({"models": models}, self._connection.execute, "FROM models")
                case SetCommand():
                    run_set_statement(self.runtime.settings, statement.text)
                case Quiet():
                    self.run_unanswered(statement)
                case Query() | Write():
                    self._run_in_phases(statement)
                case Direct():
                    self._run_directly(statement)

    def stream(self, text: str) -> pa.RecordBatchReader | None:
        """Run one statement, and stream its rows; None if it gives none. Errors of DuckDB may come as it is read."""
        with self._caller.seeing(caller_variables()), translated(self.evaluator):
            statement = self.plan(text, runs=True)
            if isinstance(statement, Query) and not self.is_summary_only:
                statement = self.prefetch_answers(self.bind(statement))
                return self._open_reader(statement.sql, statement.values)
            if isinstance(statement, Direct) and self._is_select(statement.sql):
                return self._open_reader(statement.sql, statement.values)
            return self._run_and_open(statement)

    def bind(self, statement: _S) -> _S:
        """The form of a statement that DuckDB takes; raises what is wrong with it before any answer is computed.

        A guard that does not fit would abort an open transaction, so it is tried outside of it, where tables that the
        transaction made are not there: then the statement runs unguarded.
        """
        if self._in_transaction and statement.unguarded is not None:
            with self.cursor() as outside, probe_only(outside.evaluator):
                outside._caller.take_over(self._caller)
                statement = statement if fits(statement, outside._execute) else statement.without_guards()
        with probe_only(self.evaluator):
            statement = bind(statement, self._execute, self.runtime.functions)
        self.evaluator.statement.take_cause()  # of a guard that did not fit
        return statement

    def prefetch_answers(self, statement: _S, readers: Sequence[OpenReader] = ()) -> _S:
        """Compute every answer of a statement, and do not run it; the form that is to run. readers: ways to stream what
        it probes, if not as it stands."""
        self.evaluator.begin_statement()
        with translated(self.evaluator), self.job(statement.text):
            if statement.queries:
                statement = statement if statement.has_semantic_join is not None else self.bind(statement)
                readers = readers or self.readers(statement)
                prefetch_answers(self.evaluator, readers, statement.num_rounds, statement.has_semantic_join)
        return statement

    def readers(self, statement: AiStatement) -> list[OpenReader]:
        """Ways to run the SELECT parts of a statement and stream their rows, each with its own parameters."""
        return [partial(self._open_reader, query, own_values(query, statement.values)) for query in statement.queries]

    def run_unanswered(self, statement: DuckDBStatement) -> None:
        """Hand a statement to DuckDB, with NULL for answers that are not cached."""
        with translated(self.evaluator), probe_only(self.evaluator):
            self._run_directly(statement)

    @property
    def is_summary_only(self) -> bool:
        """Whether statements with AI functions neither write nor give their rows once their answers are computed."""
        return self.runtime.settings.over().output_action == "summary_only"

    def _lazy(self, statement: Statement, alias: str) -> Any:
        if isinstance(statement, Query | Direct):
            with translated(self.evaluator):
                return self._lazy_query(statement, alias)
        reader = self._run_and_open(statement)
        return None if reader is None else self._relation(self._connection.from_arrow(reader.read_all()))

    def _lazy_query(self, statement: Query | Direct, alias: str) -> Any:
        if isinstance(statement, Query):
            statement = self.bind(statement)
        make = partial(self._caller.call, self._connection.sql, statement.sql, alias=alias, params=statement.values)
        if statement.values is not None and not _LAZY_PARAMETERS:
            if isinstance(statement, Query):
                self.prefetch_answers(statement)
            return self._relation(make())
        with probe_only(self.evaluator):
            relation = make()
        if isinstance(statement, Direct) or not statement.queries or self._caller.has_relation(statement.text):
            return self._relation(relation)
        prefetch = partial(self.prefetch_answers, statement, [partial(open_reader, relation)])
        return Relation(relation, self.evaluator, self._prefetch_relation, prefetch)

    def _run_whole(self, texts: Sequence[str]) -> None:
        """Run statements whose rows nobody reads. DuckDB 2.0 refuses others while one has rows left."""
        for text in texts:
            self.run(self.plan(text, runs=True))
            with translated(self.evaluator):
                getattr(self._connection, "complete", bool)()

    def _run_in_phases(self, statement: Query | Write) -> None:
        with self.job(statement.text) as job:
            statement = self.prefetch_answers(statement)
            if self.is_summary_only:
                if not statement.queries:
                    raise SqlinferError("summary_only: what this statement asks is known only as it runs")
                summary = ", ".join(f"{count} AS {name}" for name, count in job.counts.as_dict().items())
                self._connection.execute(f"SELECT {summary}")
            else:
                self._run_directly(statement)

    def _prefetch_relation(self, relation: duckdb.DuckDBPyRelation) -> None:
        """Compute the answers of a relation, of which only DuckDB knows the statement."""
        sql = relation.sql_query()
        self.evaluator.begin_statement()
        dependencies = self.references.resolve(sql)
        context = RewriteContext(self.runtime.functions, dependencies.names)
        if not dependencies.names or dependencies.is_volatile or stops_early(sql, context):
            return
        query = Query(sql, sql, None, (sql,), dependencies.num_calls, None, bool(semantic_joins(sql, context)))
        if not self._in_transaction:  # where an error would end it
            with suppress(duckdb.Error), probe_only(self.evaluator):
                query = bind(query, self._connection.execute, self.runtime.functions)
        with translated(self.evaluator), self.job(sql):
            readers = [partial(open_reader, relation)]
            prefetch_answers(self.evaluator, readers, query.num_rounds, query.has_semantic_join)

    def _run_directly(self, statement: DuckDBStatement) -> None:
        """Hand a statement to DuckDB."""
        parameters = () if statement.values is None else (statement.values,)
        self._execute(statement.sql, *parameters)
        if isinstance(statement, Direct) and statement.is_transactional:
            self._in_transaction = statement.verb in ("BEGIN", "START")
        if statement.is_definition:
            self.references.refresh()

    def _run_and_open(self, statement: Statement) -> pa.RecordBatchReader | None:
        """Run a statement, and stream its rows; None if it gives none."""
        if isinstance(statement, ModelCommand):
            return run_model_statement(self.runtime.store.registry, statement.text).to_reader()
        self.run(statement)
        return None if isinstance(statement, SetCommand) else open_result(self._connection)

    def _execute(self, sql: str, *parameters: Any) -> duckdb.DuckDBPyConnection:
        """Run SQL as whoever called us, whose dataframes it may name."""
        result: duckdb.DuckDBPyConnection = self._caller.call(self._connection.execute, sql, *parameters)
        return result

    def _open_reader(self, query: str, values: SqlValues) -> pa.RecordBatchReader:
        return open_reader(self._caller.call(self._connection.sql, query, params=values))

    def _is_select(self, sql: str) -> bool:
        return [parsed.type.name for parsed in self._connection.extract_statements(sql)] == ["SELECT"]


@atexit.register
def _close_all() -> None:
    """DuckDB prints a report of leaks at exit for connections that are still open."""
    for session in list(_OPEN):
        session.close()
