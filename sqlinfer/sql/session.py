"""The live handle that sqlinfer.connect returns: a DuckDB connection whose statements run in phases."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa

from sqlinfer.errors import SqlinferError
from sqlinfer.inference.job import recorded
from sqlinfer.inference.progress import in_notebook
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.commands.model_statements import is_model_statement, run_model_statement
from sqlinfer.sql.commands.set_statements import is_set_statement, run_set_statement
from sqlinfer.sql.error_translation import translated
from sqlinfer.sql.phases import OpenReader, settle, silent
from sqlinfer.sql.plan import Parameters, Plan, plan
from sqlinfer.sql.relation import Relation, left_rows, open_reader, plain
from sqlinfer.sql.replacement_scan import ReplacementScan, call_as, caller_variables
from sqlinfer.sql.rewrite.atomic_copy import atomic_copy
from sqlinfer.sql.rewrite.output_action import output_action
from sqlinfer.sql.rewrite.references import References
from sqlinfer.sql.rewrite.semantic_joins import asks_pairs
from sqlinfer.sql.rewrite.split_statements import own_parameters, split
from sqlinfer.sql.udf.evaluator import CallEvaluator
from sqlinfer.sql.udf.registration import UdfRegistration
from sqlinfer.sql.validate import exists, validate

_LAZY_PARAMETERS = not duckdb.__version__.startswith("1.")
"""DuckDB 1.5 runs a relation with parameters when it is made, 2.0 when it is fetched."""
_OPEN: weakref.WeakSet[Session] = weakref.WeakSet()


class Session:
    """Behaves as a DuckDB connection: what is not here is the connection's own.

    Statements with AI functions are probed first, their questions answered in full batches, then run. Results of
    `sql` are relations, `execute` leaves its result on the session.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, runtime: Runtime) -> None:
        self.runtime = runtime
        self.answerer = CallEvaluator(runtime)
        self.answerer.progress = in_notebook() or self.answerer.progress
        self._connection = connection
        self._caller = ReplacementScan(plain)
        self._binding = UdfRegistration(connection, self.answerer, has_text=True)
        self.mentions = References(connection, runtime.functions)
        self._closed = False
        self._in_transaction = False
        with runtime.counting:
            runtime.num_sessions += 1
        _OPEN.add(self)

    def execute(self, query: Any, parameters: Parameters = None, *args: Any, **kwargs: Any) -> Session:
        """Run one statement or several; parameters go to the last. The result is fetched from the session."""
        if not isinstance(query, str):
            with translated(self.answerer):
                self._connection.execute(query, parameters, *args, **kwargs)
            return self
        statements = split(query)
        with self._caller.seeing(caller_variables()):
            self._run_whole(statements[:-1])
            if statements:
                self._run(statements[-1], parameters)
        return self

    def executemany(self, query: str, parameters: Sequence[Any] | None = None) -> Session:
        """Run a statement once for each of a list of parameters."""
        if not self.mentions.find(query).names:
            self._connection.executemany(query, parameters)
            return self
        for values in parameters or []:
            self.execute(query, values)
        return self

    def sql(self, query: Any, *, alias: str = "", params: Parameters = None) -> Any:
        """A query as a lazy relation; its questions are asked when it is fetched. Other statements run at once."""
        if not isinstance(query, str):
            return self._call(self._connection.sql, query, alias=alias, params=params)
        statements = split(query)
        if not statements:
            return None
        with self._caller.seeing(caller_variables()):
            self._run_whole(statements[:-1])
            return self._lazy(statements[-1], alias, params)

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
        self.answerer.cancel.set()
        self._connection.interrupt()

    def close(self) -> None:
        """Close the connection; the last session of a family closes the store too."""
        if self._closed:
            return
        self._closed = True
        self._binding.close()
        self._connection.close()
        with self.runtime.counting:
            self.runtime.num_sessions -= 1
            is_last = self.runtime.num_sessions == 0
        if is_last:
            self.runtime.store.close()

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
        with translated(self.answerer):
            value = method(*map(plain, args), **kwargs)
        if value is self._connection:
            return self
        return self._relation(value)

    def _relation(self, value: Any) -> Any:
        return Relation(value, self) if isinstance(value, duckdb.DuckDBPyRelation) else value

    def _lazy(self, statement: str, alias: str, parameters: Parameters) -> Any:
        if is_model_statement(statement):
            models = run_model_statement(self.runtime.store.registry, statement)
            return self._relation(self._connection.from_arrow(models))
        if is_set_statement(statement):
            run_set_statement(self.runtime.settings, statement)
            return None
        planned = self.plan(statement, parameters)
        if planned.is_ai and not planned.is_query:
            self._run(statement, parameters)
            return self._result()
        make = partial(self._caller.call, self._connection.sql, planned.sql, alias=alias, params=planned.values)
        with translated(self.answerer):
            if planned.is_ai:
                self.validate(planned)
            if planned.values is not None and not _LAZY_PARAMETERS:
                self.settle(statement, planned)
                return self._relation(make())
            with silent(self.answerer):
                return self._relation(make())

    def plan(self, statement: str, parameters: Parameters = None) -> Plan:
        """What will run for one statement."""
        with translated(self.answerer):
            planned = plan(statement, parameters, self.mentions, self.runtime, self.answerer.defaults.model)
        return planned if planned.unguarded is None or self._binds(planned) else planned.unguarded

    def _binds(self, planned: Plan) -> bool:
        """Whether DuckDB takes a statement as it was guarded. An error would abort an open transaction, so that one
        is tried outside of it, where tables that it made are not known: then the statement runs unguarded."""
        if self._in_transaction:
            with self.cursor() as other:
                other._caller.take_over(self._caller)
                return other._binds(planned)
        try:
            with silent(self.answerer):
                self._caller.call(self._connection.execute, f"EXPLAIN {planned.sql}", planned.values).fetchall()
        except duckdb.Error:
            self.answerer.cause = None
            return False
        return True

    def _run_whole(self, statements: Sequence[str]) -> None:
        """Run statements whose rows nobody reads. DuckDB 2.0 refuses others while one has rows left."""
        for statement in statements:
            self._run(statement, None)
            with translated(self.answerer):
                getattr(self._connection, "complete", bool)()

    def _run(self, statement: str, parameters: Parameters) -> None:
        if is_model_statement(statement):
            models = run_model_statement(self.runtime.store.registry, statement)
            call_as({"models": models}, self._connection.execute, "FROM models")
            return
        if is_set_statement(statement):
            run_set_statement(self.runtime.settings, statement)
            return
        planned = self.plan(statement, parameters)
        with translated(self.answerer):
            if planned.is_quiet:
                with silent(self.answerer):
                    self.run_directly(planned)
            elif planned.is_ai:
                self._run_in_phases(statement, self._with_output_action(statement, planned, parameters))
            else:
                self.run_directly(planned)

    def _run_in_phases(self, statement: str, planned: Plan) -> None:
        with recorded(self.answerer, statement) as counts:
            self.settle(statement, planned)
            if self.is_summary_only:
                if not planned.queries:
                    raise SqlinferError("summary_only: what this statement asks is known only as it runs")
                summary = ", ".join(f"{count} AS {name}" for name, count in counts.as_dict().items())
                self._connection.execute(f"SELECT {summary}")
            else:
                self.run_directly(planned)

    @property
    def is_summary_only(self) -> bool:
        """Whether statements with AI functions are answered and neither write nor give their rows."""
        return self.runtime.settings.over().output_action == "summary_only"

    def _with_output_action(self, statement: str, planned: Plan, parameters: Parameters) -> Plan:
        """The plan of a statement that writes, as the job's output_action has it."""
        execute = partial(self._caller.call, self._connection.execute)
        action = self.runtime.settings.over().output_action
        if action == "summary_only":
            return planned
        acted = atomic_copy(output_action(statement, action, partial(exists, execute)))
        return planned if acted == statement else self.plan(acted, parameters)

    def settle(self, statement: str, planned: Plan) -> None:
        """Ask the questions of a statement and do not run it."""
        self.answerer.new_statement()
        with recorded(self.answerer, statement):
            if planned.queries:
                self.validate(planned)
                self.answerer.asks_pairs = self.asks_pairs(planned.unguarded or planned)
                settle(self.answerer, self.readers(planned), planned.num_rounds)

    def asks_pairs(self, planned: Plan) -> bool:
        """Whether a statement has an AI condition over two tables. In a transaction it is told from the text alone, as
        an error would end it."""

        def explain(query: str) -> list[tuple[str, str]]:
            values = own_parameters(query, planned.values)
            rows = self._caller.call(self._connection.execute, f"EXPLAIN (FORMAT json) {query}", values)
            return list(rows.fetchall())

        with silent(self.answerer):
            return asks_pairs(planned.queries, self.runtime.functions, None if self._in_transaction else explain)

    def validate(self, planned: Plan) -> None:
        """Raise what is wrong with a statement, before anything is asked."""
        with silent(self.answerer):
            bind = partial(self._caller.call, self._connection.execute)
            validate(bind, planned.sql, planned.values, self.runtime.functions)

    def readers(self, planned: Plan) -> list[OpenReader]:
        """Ways to run the SELECT parts of a statement and stream their rows, each with its own parameters."""
        return [partial(self._reader, query, own_parameters(query, planned.values)) for query in planned.queries]

    def _reader(self, query: str, values: Parameters) -> pa.RecordBatchReader:
        return open_reader(self._caller.call(self._connection.sql, query, params=values))

    def run_directly(self, planned: Plan) -> None:
        """Hand a statement to DuckDB without phases."""
        parameters = () if planned.values is None else (planned.values,)
        self._caller.call(self._connection.execute, planned.sql, *parameters)
        if planned.is_transactional:
            self._in_transaction = planned.verb in ("BEGIN", "START")
        if planned.is_definition:
            self.mentions.refresh()

    def _result(self) -> Any:
        """The rows that a statement left, as a relation; None if it gives none."""
        rows = left_rows(self._connection)
        return None if rows is None else self._relation(self._connection.from_arrow(rows))


@atexit.register
def _close_all() -> None:
    """DuckDB prints a report of leaks at exit for connections that are still open."""
    for session in list(_OPEN):
        session.close()
