"""Runs the statements of a session: plans and binds each, computes its answers in phases, then hands it to DuckDB."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from sqlinfer.errors import SqlinferError
from sqlinfer.sql.bind import bind, explained, fitting
from sqlinfer.sql.commands.model_statements import run_model_statement
from sqlinfer.sql.commands.set_statements import run_set_statement
from sqlinfer.sql.error_translation import translated
from sqlinfer.sql.internal_names import PREFIX
from sqlinfer.sql.parsing.dependencies import Catalog, Dependencies
from sqlinfer.sql.parsing.parameters import SqlValues
from sqlinfer.sql.parsing.written_targets import table_exists
from sqlinfer.sql.phases import OpenReader, Stages, prefetch_answers, probe_only
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
    only_scores,
    plan,
    stops_early,
)
from sqlinfer.sql.replacement_scan import ReplacementScan
from sqlinfer.sql.rewrite.context import RewriteContext
from sqlinfer.sql.rewrite.name_parameters import named_values, own_values
from sqlinfer.sql.rows import Rows
from sqlinfer.sql.semantic_joins import functions_over_pairs
from sqlinfer.sql.udf.evaluator import CallEvaluator
from sqlinfer.sql.udf.registration import UdfRegistration
from sqlinfer.sql_text import quote_identifier

RunSql = Callable[[str, SqlValues], Any]
"""Runs SQL with its parameters."""
_log = logging.getLogger(__name__)
_EXPLAINS_RELATIONS = not duckdb.__version__.startswith("1.")
_SCORED_ROWS = f"{PREFIX}rows"
_SCORING_THREADS = 64
"""Each brings a chunk of 2,048 rows; models score many rows together in less time."""
_S = TypeVar("_S", bound=AiStatement)


class StatementRunner:
    """The statements of one connection.

    catalog: the names of the catalogue that lead to AI functions.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, evaluator: CallEvaluator, caller: ReplacementScan
    ) -> None:
        self.catalog = Catalog(connection, evaluator.runtime.functions)
        self._connection = connection
        self._evaluator = evaluator
        self._runtime = evaluator.runtime
        self._caller = caller
        self._in_transaction = False
        self._is_parallel = False

    def plan(self, text: str, parameters: SqlValues = None, *, runs: bool = False) -> Statement:
        """What one statement is. runs: whether it will run, so that what it writes over matters."""
        settings = self._runtime.settings.over()
        context = self._context(
            embedding_width=lambda model: self._runtime.embedding_width(model or self._evaluator.defaults.model),
            ai_schema=settings.ai_schema,
            parameters=parameters,
            output_action=settings.output_action,
            table_exists=partial(table_exists, self.execute),
            value_of=self._value_of,
        )
        with translated(self._evaluator):
            return plan(text, context, self.catalog, runs and not self.is_summary_only)

    def _context(self, **known: Any) -> RewriteContext:
        return RewriteContext(
            self._runtime.functions,
            find_model=self._runtime.find_model,
            scores_directly=self._runtime.scores_directly,
            **known,
        )

    def bind(self, statement: _S) -> _S:
        """The form of a statement that DuckDB takes; raises what is wrong with it before any answer is computed.

        A guard that does not fit would abort an open transaction, so it is tried outside of it, where tables that the
        transaction made are not there: then the statement runs unguarded, and its branches do not wait.
        """
        with probe_only(self._evaluator):
            if self._in_transaction and (statement.unguarded is not None or statement.early):
                statement = self._fitting_outside(statement)
            statement = bind(statement, self.execute, self._runtime.functions)
        self._evaluator.statement.take_cause()  # of a guard that did not fit
        return statement

    def bind_selects(self, statement: _S) -> _S:
        """A statement whose SELECT parts DuckDB takes; what it writes to need not be there."""
        selects = [Query(query, query, own_values(query, statement.values), (query,)) for query in statement.queries]
        bound = [self.bind(select) for select in selects]
        return replace(statement, over_pairs=frozenset[str]().union(*(select.over_pairs or () for select in bound)))

    def run(self, statement: Statement, execute: RunSql | None = None) -> Any:
        """Run a statement; its rows are left on the connection. execute: in place of the connection's own; what it
        returns is returned."""
        execute = execute or self.execute
        with translated(self._evaluator):
            match statement:
                case ModelCommand():
                    models = run_model_statement(self._runtime.store.registry, statement.text)
                    return self._connection.execute(*_as_query(models))
                case SetCommand():
                    return run_set_statement(self._runtime.settings, statement.text)
                case Quiet():
                    return self.run_unanswered(statement, execute)
                case Query() | Write():
                    return self._run_in_phases(statement, execute)
                case Direct():
                    return self._run_directly(statement, execute)

    def rows(self, text: str) -> Rows | None:
        """Run one statement, its query as the rows are read; None if it gives none."""
        statement = self.plan(text, runs=True)
        if isinstance(statement, Query) and not self.is_summary_only and not statement.is_scored:
            statement = self.prefetch_answers(self.bind(statement))
            return Rows(self._sql(statement.sql, statement.values))
        if isinstance(statement, Direct) and self._is_select(statement.sql):
            return Rows(self._sql(statement.sql, statement.values))
        relation = self.run_for_rows(statement)
        return None if relation is None else Rows(relation)

    def run_for_rows(self, statement: Statement) -> duckdb.DuckDBPyRelation | None:
        """Run a statement; its rows, None if it gives none."""
        if isinstance(statement, ModelCommand):
            return self._connection.from_arrow(run_model_statement(self._runtime.store.registry, statement.text))
        relation = self.run(statement, self._sql)
        return None if relation is None or relation.columns in (["Count"], ["Success"]) else relation

    def _fitting_outside(self, statement: _S) -> _S:
        """The form of a statement that DuckDB takes outside of the open transaction."""
        with closing(self._connection.cursor()) as other, closing(UdfRegistration(other, self._evaluator, "", True)):
            return fitting(statement, partial(self._caller.call, other.execute))

    def prefetch_answers(self, statement: _S, stages: Stages = ()) -> _S:
        """Compute every answer of a statement, and do not run it; the form that is to run. stages: what its probes
        drain, if not the statement as it stands."""
        self._evaluator.begin_statement()
        with translated(self._evaluator), self._evaluator.runner.record(statement.text):
            if statement.over_pairs is None:
                statement = self.bind(statement)
            self._evaluator.statement.bound_pairs(statement.over_pairs or ())
            if statement.queries and not statement.is_scored:
                prefetch_answers(self._evaluator, stages or self.stages(statement), statement.num_rounds)
        return statement

    @contextmanager
    def answered(self, statement: AiStatement, stages: Stages = ()) -> Iterator[None]:
        """Inside, a statement runs: its answers are there, or its rows are scored, in a job."""
        if not statement.is_scored:
            self.prefetch_answers(statement, stages)
            yield
            return
        with self._evaluator.runner.record(statement.text):
            self.prefetch_answers(statement)
            with self._scoring():
                yield

    @contextmanager
    def relation_answered(self, relation: duckdb.DuckDBPyRelation) -> Iterator[None]:
        """The same for a relation, of which only DuckDB knows the statement."""
        sql = relation.sql_query()
        self._evaluator.begin_statement()
        dependencies = self.catalog.resolve(sql)
        context = self._context(ai_names=dependencies.names, ai_columns=dependencies.columns)
        if dependencies.is_ai and only_scores(dependencies, context):
            with translated(self._evaluator), self._evaluator.runner.record(sql), self._scoring():
                yield
            return
        if dependencies.is_ai:
            self._prefetch_relation(relation, sql, dependencies, context)
        yield

    @contextmanager
    def _scoring(self) -> Iterator[None]:
        """Inside, many chunks are under way at the same time: the threads that bring them wait for models."""
        row = self._connection.execute("SELECT current_setting('threads')").fetchone()
        assert row is not None
        self._connection.execute(f"SET threads = {max(_SCORING_THREADS, row[0])}; PRAGMA verify_parallelism")
        self._is_parallel = False  # not to be ended by the statement itself
        try:
            with self._evaluator.job.counts.scoring():
                yield
        finally:
            self._is_parallel = True
            with self._connection.cursor() as other:  # the connection may hold the statement's result
                other.execute(f"SET threads = {row[0]}")

    def _end_parallel(self) -> None:
        """Take back what scoring set for this connection alone: at its next statement, which ends the last result."""
        if self._is_parallel:
            self._connection.execute("PRAGMA disable_verify_parallelism")
            self._is_parallel = False

    def run_many(self, query: str, rows: Sequence[SqlValues]) -> None:
        """Run a statement once for each row of parameters; its answers for all rows are computed before."""
        statement = self.plan(query, rows[0], runs=True)
        if not isinstance(statement, Query | Write) or not statement.queries:
            for values in rows:
                self.run(self.plan(query, values, runs=True))
            return
        with translated(self._evaluator), self._evaluator.runner.record(statement.text), self._writing(statement):
            statement = self.bind(statement)
            each = [replace(statement, values=named_values(values)) for values in rows]
            by_row = [self.stages(one) for one in each]
            stages = [[query for stages in by_row for query in stages[i]] for i in range(len(by_row[0]))]
            self.prefetch_answers(statement, stages)
            for one in each:
                self._run_directly(one, self.execute)

    def _prefetch_relation(
        self, relation: duckdb.DuckDBPyRelation, sql: str, dependencies: Dependencies, context: RewriteContext
    ) -> None:
        self._evaluator.statement.bound_pairs(functions_over_pairs(self._plans(relation), self._runtime.functions))
        if dependencies.is_volatile or stops_early(sql, context):
            return
        with translated(self._evaluator), self._evaluator.runner.record(sql):
            prefetch_answers(self._evaluator, [[Rows(relation).arrow]], dependencies.num_calls)

    def _plans(self, relation: duckdb.DuckDBPyRelation) -> list[str]:
        with probe_only(self._evaluator):
            if _EXPLAINS_RELATIONS:
                return [relation.explain("standard", format="json")]
            if not self._in_transaction:  # where an error would end it
                with suppress(duckdb.Error):
                    return explained(relation.sql_query(), self._connection.execute)
        return []

    def stages(self, statement: AiStatement) -> Stages:
        """What the probes of a statement drain; each query has its own parameters."""
        return [
            [partial(self._open_reader, query, own_values(query, statement.values)) for query in queries]
            for queries in statement.stages
        ]

    def lazy_stages(self, statement: Query, relation: duckdb.DuckDBPyRelation) -> Stages:
        """What the probes of a statement's relation drain; made with it, as a dataframe's name may mean another one
        later."""
        stages: list[list[OpenReader]] = []
        for queries in statement.early:
            with suppress(duckdb.Error), probe_only(self._evaluator):  # DuckDB may not take it
                readers = [Rows(self._sql(query, own_values(query, statement.values))).arrow for query in queries]
                stages.append(readers)
        return [*stages, [Rows(relation).arrow]]

    def run_unanswered(self, statement: DuckDBStatement, execute: RunSql | None = None) -> Any:
        """Hand a statement to DuckDB, with NULL for answers that are not cached."""
        with translated(self._evaluator), probe_only(self._evaluator):
            return self._run_directly(statement, execute or self.execute)

    @property
    def is_summary_only(self) -> bool:
        """Whether statements with AI functions neither write nor give their rows once their answers are computed."""
        return self._runtime.settings.over().output_action == "summary_only"

    def execute(self, sql: str, values: SqlValues = None) -> duckdb.DuckDBPyConnection:
        """Run SQL as whoever called us, whose dataframes it may name."""
        parameters = () if values is None else (values,)
        self._end_parallel()
        result: duckdb.DuckDBPyConnection = self._caller.call(self._connection.execute, sql, *parameters)
        return result

    def _sql(self, sql: str, values: SqlValues = None) -> Any:
        """A query as a relation, any other statement at once, with a relation for its rows."""
        self._end_parallel()
        return self._caller.call(self._connection.sql, sql, params=values)

    def _run_in_phases(self, statement: Query | Write, execute: RunSql) -> Any:
        with self._evaluator.runner.record(statement.text) as job, self._writing(statement):
            if statement.unprobed:
                _log.warning("Answers are computed chunk by chunk, as the statement runs: %s.", statement.unprobed)
            statement = self.prefetch_answers(statement)
            if statement.is_scored and not self.is_summary_only:
                return self._run_scored(statement, execute)
            if self.is_summary_only:
                if not statement.queries:
                    raise SqlinferError("summary_only: what this statement asks is known only as it runs")
                summary = ", ".join(f"{count} AS {name}" for name, count in job.counts.as_dict().items())
                return execute(f"SELECT {summary}", None)
            return self._run_directly(statement, execute)

    def _writing(self, statement: AiStatement) -> AbstractContextManager[None]:
        """Within a job: note the model versions whose answers are in what a statement writes."""
        return self._evaluator.job.writing(None if self.is_summary_only else statement.target, statement.replaces)

    def _run_scored(self, statement: Query | Write, execute: RunSql) -> Any:
        """Run a statement to its end: DuckDB would else score rows as they are read, after the job."""
        with self._scoring():
            if isinstance(statement, Write):
                return self._run_directly(statement, execute)
            rows = self._sql(statement.sql, statement.values).to_arrow_table()
        self._connection.register(_SCORED_ROWS, rows)
        return execute(f"FROM {_SCORED_ROWS}", None)

    def _run_directly(self, statement: DuckDBStatement, execute: RunSql) -> Any:
        """Hand a statement to DuckDB."""
        result = execute(statement.sql, statement.values)
        if isinstance(statement, Direct) and statement.is_transactional:
            self._in_transaction = statement.verb in ("BEGIN", "START")
        if statement.is_definition:
            self.catalog.refresh()
        return result

    def _open_reader(self, query: str, values: SqlValues) -> pa.RecordBatchReader:
        return Rows(self._sql(query, values)).arrow()

    def _value_of(self, expression: str) -> str | None:
        ((value,),) = self.execute(f"SELECT {expression}").fetchall()
        return None if value is None else str(value)

    def _is_select(self, sql: str) -> bool:
        return [parsed.type.name for parsed in self._connection.extract_statements(sql)] == ["SELECT"]


def _as_query(table: pa.Table) -> tuple[str, list[list[Any]]]:
    """A query that gives the rows of a table of texts and whole numbers, and its parameters: a table itself could be
    read from Python by no connection that is locked."""
    columns = [
        f"unnest(?::{'INTEGER' if pa.types.is_integer(field.type) else 'VARCHAR'}[]) AS {quote_identifier(field.name)}"
        for field in table.schema
    ]
    return f"SELECT {', '.join(columns)}", [column.to_pylist() for column in table.columns]
