"""Evaluates one chunk of calls of a SQL function: values come from the cache, and what it misses is handled as the mode
says.

This is what a user-defined function does in all three phases; one evaluator belongs to one connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from sqlinfer.errors import EXCERPT, RequestsFailed, SqlinferError
from sqlinfer.functions import Function
from sqlinfer.functions.call_options import Options
from sqlinfer.inference.call_stats import CallStats
from sqlinfer.inference.failures import Failure, summary
from sqlinfer.inference.job import Job
from sqlinfer.inference.keyed_request import KeyedRequest, Route
from sqlinfer.inference.runner import JobRunner
from sqlinfer.sql.udf.arrow_rows import distinct_rows, one_chunk, struct_columns, to_array
from sqlinfer.sql.udf.cache_misses import Compute, OnMiss
from sqlinfer.sql.udf.call import Call
from sqlinfer.sql.udf.call_metadata import NO_METADATA, CallMetadata, take_metadata
from sqlinfer.sql.udf.request_builder import RequestBuilder
from sqlinfer.sql.udf.statement_state import StatementState
from sqlinfer.store.outputs import encode
from sqlinfer.types import ModelVersion, Text


@dataclass(frozen=True, slots=True)
class Mode:
    """How calls are evaluated."""

    on_miss: OnMiss
    """What happens to requests that are not cached."""
    defaults: Options = Options()  # noqa: RUF009 - frozen
    """The model and the on_error of calls that say none."""
    stats: CallStats | None = None
    """Counts call by call, if somebody wants to know."""
    on_read: Callable[[Call, Mapping[bytes, Any]], None] | None = None
    """Gets each call and the outputs that it reads next."""


class CallEvaluator:
    """The calls of one connection.

    runner: of its jobs.
    statement: the state of the statement that runs.
    """

    def __init__(self, runner: JobRunner, on_miss: OnMiss | None = None) -> None:
        self.runner = runner
        self.runtime = runner.runtime
        self.statement = StatementState(self.runtime)
        self._mode = Mode(on_miss or Compute(runner))

    @property
    def job(self) -> Job:
        """What counts now."""
        return self.runner.job

    @property
    def mode(self) -> Mode:
        """How calls are evaluated now."""
        return self._mode

    @property
    def defaults(self) -> Options:
        """Of calls that say nothing else."""
        return self._mode.defaults

    def begin_statement(self) -> None:
        """Forget what held for the statement before."""
        self.runner.cancel.clear()
        self.statement = StatementState(self.runtime)

    @contextmanager
    def using(self, **changes: Any) -> Iterator[None]:
        """Evaluate in another mode inside. changes: fields of Mode."""
        before, self._mode = self._mode, replace(self._mode, **changes)
        try:
            yield
        finally:
            self._mode = before

    def evaluate(self, function: Function, columns: list[pa.ChunkedArray]) -> pa.Array:
        """The values of one chunk; columns: the arguments of the function, then the struct of options."""
        try:
            return self._evaluate(function, columns)
        except BaseException as error:
            self.statement.note_cause(error)
            raise

    def _evaluate(self, function: Function, columns: list[pa.ChunkedArray]) -> pa.Array:
        arrays = [one_chunk(column) for column in columns]
        options = struct_columns(arrays.pop())
        metadata = take_metadata(options)
        if metadata.missing:
            raise SqlinferError(f"{function.name} needs {metadata.missing}. Its signature: {function.signature}")
        if self._mode.stats is not None:
            self._mode.stats.count_rows(metadata.site, function.name, len(columns[0]))
        parts = []
        for rows in distinct_rows([*arrays, *options.values()], len(columns[0])):
            values = self.values(function, tuple(options), rows.distinct, metadata)
            parts.append(to_array(values, rows.index, function.returns))
        return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)

    def values(
        self,
        function: Function,
        option_names: tuple[str, ...],
        rows: Sequence[tuple[Any, ...]],
        metadata: CallMetadata = NO_METADATA,
    ) -> list[Any]:
        """The values of distinct rows: arguments of the function, then the options of these names."""
        mode = self._mode  # nothing else says where a statement begins: a model's name may mean a newer version now
        statement = self.statement if mode.on_miss.is_by_statement else StatementState(self.runtime)
        find_route = partial(self._route, statement, metadata)
        builder = RequestBuilder(find_route, function, option_names, mode.defaults, statement.orders.find)

        def evaluate(rows: Sequence[tuple[Any, ...]]) -> list[Call]:
            calls = [Call(builder, row) for row in rows]
            Evaluation(self.job, statement, mode).run(calls)
            return calls

        if mode.on_read is not None or not mode.on_miss.is_by_statement:
            return [call.value for call in evaluate(rows)]
        which = (function.name, option_names, metadata, mode.defaults)
        return statement.memo.values(which, rows, mode.on_miss, evaluate)

    def find_version(self, function: Function, model: str, metadata: CallMetadata) -> ModelVersion:
        """The version that a model's name means in the statement."""
        statement = self.statement if self._mode.on_miss.is_by_statement else StatementState(self.runtime)
        return self._route(statement, metadata, function, model, "").version

    def _route(
        self, statement: StatementState, metadata: CallMetadata, function: Function, model: str | None, task: str
    ) -> Route:
        route = statement.route(function, model, task, metadata)
        self.job.note_version(route.version)
        return route


class Evaluation:
    """Calls of one function on their way to their values."""

    def __init__(self, job: Job, statement: StatementState, mode: Mode) -> None:
        self._job = job
        self._statement = statement
        self._mode = mode
        self._failures = statement.failures

    def run(self, calls: list[Call]) -> None:
        """Bring calls as far as there are answers, all of them step by step together."""
        for call in calls:
            error = call.begin()
            if error is not None:
                self._refuse(call, Failure(call.function.name, "", call.excerpt, error))
        waiting = [call for call in calls if call.requests]
        while waiting:
            outputs = self._outputs([request for call in waiting for request in call.requests])
            waiting = [call for call in waiting if self._go_on(call, outputs)]
        if self._mode.on_miss.is_computing and self._failures:
            if self._mode.on_miss.is_by_statement:
                self._job.check_error_threshold(self._failures)
            self._check_failed(calls)

    def _outputs(self, requests: list[KeyedRequest]) -> dict[bytes, Any]:
        """The outputs by key; none where there is none yet or never will be."""
        is_computing = self._mode.on_miss.is_computing
        if is_computing:
            self._statement.orders.choose_now(requests)
        by_key = {request.key: request for request in requests}
        self._job.counts.count_requests(by_key.values())
        cached = self._cached(by_key)
        if self._mode.stats is not None:
            self._mode.stats.count_requests(requests, cached)
        if len(cached) < len(by_key):
            missing = {key: r for key, r in by_key.items() if key not in cached and key not in self._failures}
            self._check_models(missing.values())
            self._statement.pairs.check(missing.values(), self._job)
            self._mode.on_miss.handle(list(missing.values()), self._failures)
            if is_computing:
                return cached | self._cached(missing)
        return cached

    def _check_models(self, requests: Iterable[KeyedRequest]) -> None:
        """Refuse a model of the wrong kind once, if it is the same for all rows of the call; else it costs its rows."""
        checked: Route | None = None
        for request in requests:
            if request.route.is_constant and request.route is not checked:
                checked = request.route
                self._job.runtime.check_kind(checked, request.draft)

    def _cached(self, requests: Mapping[bytes, KeyedRequest]) -> dict[bytes, Any]:
        """The outputs of those of the requests, all of one function, that are cached."""
        if not requests:
            return {}
        cache, function = self._job.runtime.store.answers, next(iter(requests.values())).route.function
        if function.is_text:
            return cache.texts(list(requests))
        drafts = {key: request.draft for key, request in requests.items()}
        if not function.is_in_steps:
            return cache.outputs(drafts)
        return {
            key: completion.output.with_completion(completion)
            for key, completion in cache.completions(drafts).items()
            if completion.output is not None
        }

    def _go_on(self, call: Call, outputs: dict[bytes, Any]) -> bool:
        """Hand a call the outputs that it waits for, if all are there; whether it has further requests."""
        answers = [outputs[request.key] for request in call.requests if request.key in outputs]
        if len(answers) < len(call.requests):
            key = next((request.key for request in call.requests if request.key in self._failures), None)
            if key is None:
                call.leave_open()
                return False
            return call.fail(key, self._failures[key].error)
        if self._mode.on_read is not None:
            self._mode.on_read(call, outputs)
        try:
            for request, answer in zip(call.requests, answers, strict=True):
                _check_type(request, answer)
            return call.go_on(answers)
        except Exception as error:  # noqa: BLE001 - the author's code may raise anything
            last = call.requests[-1]
            excerpt = encode(answers[-1])[:EXCERPT]
            message = f"{call.function.path} cannot use the answer {excerpt!r}: {type(error).__name__}: {error}"
            failure = Failure(call.function.name, str(last.route.version), last.draft.excerpt[:EXCERPT], message)
            self._fail(call, last.key, failure, "unread")
            return False

    def _refuse(self, call: Call, failure: Failure) -> None:
        if self._mode.on_miss.is_computing:
            self._fail(call, call.key, failure, "refused")
        else:
            self._mode.on_miss.refuse(call.key, failure)
            call.leave_open()

    def _fail(self, call: Call, key: bytes, failure: Failure, count: str) -> None:
        self._job.note_failure(key, failure, self._failures, count)
        call.mark_failed(key)

    def _check_failed(self, calls: list[Call]) -> None:
        """Fail the statement for a failed call, unless it has on_error := 'null'."""
        for call in calls:
            if call.failure is not None and call.on_error != "null":
                first = replace(self._failures[call.failure], step=call.requests[0].step if call.requests else 1)
                others = [failure for key, failure in self._failures.items() if key != call.failure]
                raise RequestsFailed(summary([first, *others], self._job.retry_hint, self._job.job_id))


def _check_type(request: KeyedRequest, output: Any) -> None:
    """Refuse an output of another type than the request's: its kept text could not be decoded."""
    wanted = request.draft.output_type
    if wanted is not Text and not isinstance(output, wanted):
        raise TypeError(f"it is no {wanted.__name__}")
