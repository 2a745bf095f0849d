"""Answers one chunk of calls of a SQL function: from the store, else by recording them, else by asking the engine.

This is what a user-defined function does in all three phases; one answerer belongs to one connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from sqlinfer.errors import EXCERPT, RequestsFailed, SqlinferError
from sqlinfer.functions import Function
from sqlinfer.functions.call_options import Options
from sqlinfer.inference.call_stats import CallStats
from sqlinfer.inference.failures import Failure, summary
from sqlinfer.inference.keyed_request import KeyedRequest, Route
from sqlinfer.inference.pipeline import infer
from sqlinfer.inference.request_queue import RequestQueue
from sqlinfer.inference.runner import JobRunner
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.udf.arrow_rows import Rows, one_chunk, struct_columns, to_array
from sqlinfer.sql.udf.call import Call
from sqlinfer.sql.udf.call_metadata import NO_METADATA, CallMetadata, take_metadata
from sqlinfer.sql.udf.field_order import FieldOrders
from sqlinfer.sql.udf.request_builder import RequestBuilder
from sqlinfer.store.outputs import encode
from sqlinfer.types import AnyRequest, ModelVersion, Text

Record = Callable[[Sequence[KeyedRequest]], None]


class CallEvaluator(JobRunner):
    """The calls of one connection.

    queue: where calls ask if no phases come before them, so that each chunk is on its own. record: while set, a call
    without an answer gives NULL and its question goes there (probe); else it is asked on the spot. cause: the last
    error raised inside DuckDB, which passes on only its text. asks_pairs: whether the statement has a condition over
    two tables. defaults: the model and the on_error of calls that say none. tally: counts call by call, if somebody
    wants to know. on_read: gets each call and the answers that it reads next. orders: of the columns that are asked
    about.
    """

    def __init__(self, runtime: Runtime, queue: RequestQueue | None = None) -> None:
        super().__init__(runtime)
        self.queue = queue
        self.record: Record | None = None
        self.cause: Exception | None = None
        self.asks_pairs = False
        self.defaults = Options()
        self.tally: CallStats | None = None
        self.on_read: Callable[[Call, Mapping[bytes, Any]], None] | None = None
        self.orders = FieldOrders(runtime.store.answers)
        self._origins: dict[tuple[str, str | None, str, CallMetadata], Route] = {}

    def new_statement(self) -> None:
        """Forget what holds for one statement: which version a model's name means, and failures."""
        super().new_statement()
        self._origins.clear()
        self.orders.forget()
        self.cause = None

    def origin(self, function: Function, model: str | None, task: str, marks: CallMetadata = NO_METADATA) -> Route:
        """Who answers a function's calls; the same for all of a statement."""
        key = (function.name, model, task, marks)
        if key not in self._origins:
            found = self.runtime.origin(function, model, task)
            self._origins[key] = replace(found, site=marks.site, is_constant=marks.is_constant)
        return self._origins[key]

    def versions(self) -> list[ModelVersion]:
        """The model versions that the statement named so far."""
        return list({origin.version.fingerprint: origin.version for origin in self._origins.values()}.values())

    def answer(self, function: Function, columns: list[pa.ChunkedArray]) -> pa.Array:
        """The values of one chunk; columns: the arguments of the function, then the struct of options."""
        try:
            return self._answer(function, columns)
        except BaseException as error:
            self.cause = error if isinstance(error, Exception) else None
            raise

    def _answer(self, function: Function, columns: list[pa.ChunkedArray]) -> pa.Array:
        arrays = [one_chunk(column) for column in columns]
        options = struct_columns(arrays.pop())
        marks = take_metadata(options)
        if marks.missing:
            raise SqlinferError(f"{function.name} needs {marks.missing}. Its signature: {function.signature}")
        if self.tally is not None:
            self.tally.count_rows(marks.site, function.name, len(columns[0]))
        rows = Rows([*arrays, *options.values()], len(columns[0]))
        values = self.values(function, tuple(options), rows.distinct, marks)
        return to_array(values, rows.index, function.returns)

    def values(
        self,
        function: Function,
        option_names: tuple[str, ...],
        rows: Sequence[tuple[Any, ...]],
        marks: CallMetadata = NO_METADATA,
    ) -> list[Any]:
        """The values of distinct rows: arguments of the function, then the options of these names."""
        if self.queue is not None:  # nothing says where a statement begins: a model's name may mean a newer version now
            self._origins.clear()
        make = RequestBuilder(
            partial(self.origin, marks=marks), function, option_names, self.defaults, self.orders.find
        )
        calls = [Call(make, row) for row in rows]
        self._settle(calls, self.failures if self.queue is None else {})
        return [call.value for call in calls]

    def _settle(self, calls: list[Call], failures: dict[bytes, Failure]) -> None:
        """Bring calls as far as there are answers, all of them step by step together."""
        for call in calls:
            refused = call.begin()
            if refused is not None:
                call.failure = call.key
                self.note(call.key, Failure(call.function.name, "", call.excerpt, refused), failures, "refused")
        waiting = [call for call in calls if call.asks]
        while waiting:
            outputs = self._outputs([question for call in waiting for question in call.asks], failures)
            waiting = [call for call in waiting if self._go_on(call, outputs, failures)]
        if self.record is None and failures:
            if self.queue is None:
                self.check_error_threshold()
            self._refuse(calls, failures)

    def _outputs(self, questions: list[KeyedRequest], failures: dict[bytes, Failure]) -> dict[bytes, Any]:
        """The outputs by key; none where there is none yet or never will be."""
        if self.record is None:
            self.orders.settle(questions)
        by_key = {q.key: q for q in questions}
        self.counts.count_requests(by_key)
        known = self._known(by_key)
        if self.tally is not None:
            self.tally.count_requests(questions, known)
        if len(known) < len(by_key):
            unasked = [q for key, q in by_key.items() if key not in known and key not in failures]
            self._check_models(unasked)
            if self.record is not None:
                self.record(unasked)
            else:
                self._ask(unasked, failures)
                known = known | self._known({question.key: question for question in unasked})
        return known

    def _check_models(self, questions: list[KeyedRequest]) -> None:
        """Refuse a model of the wrong kind once, if it is the same for all rows of the call; else it costs its rows."""
        checked: Route | None = None
        for question in questions:
            if question.route.is_constant and question.route is not checked:
                checked = question.route
                self.runtime.check_kind(checked, question.draft)

    def _known(self, questions: Mapping[bytes, KeyedRequest]) -> dict[bytes, Any]:
        """The outputs of those of the questions, all of one function, that have an answer."""
        if not questions:
            return {}
        answers, function = self.runtime.store.answers, next(iter(questions.values())).route.function
        if function.is_text:
            return answers.texts(list(questions))
        requests = {key: question.draft for key, question in questions.items()}
        if not function.is_in_steps:
            return answers.outputs(requests)
        outputs: dict[bytes, Any] = {}
        for key, completion in answers.completions(requests).items():
            outputs[key] = completion.output
            outputs[key].completion = completion
        return outputs

    def _go_on(self, call: Call, outputs: dict[bytes, Any], failures: dict[bytes, Failure]) -> bool:
        """Hand a call the answers to what it asks, if all are there; whether it asks more."""
        answers = [outputs[question.key] for question in call.asks if question.key in outputs]
        if len(answers) < len(call.asks):
            call.failure = next((question.key for question in call.asks if question.key in failures), None)
            return call.failure is not None and call.fail(failures[call.failure].error)
        if self.on_read is not None:
            self.on_read(call, outputs)
        try:
            for question, answer in zip(call.asks, answers, strict=True):
                _check_type(question, answer)
            return call.go_on(answers)
        except Exception as error:  # noqa: BLE001 - the author's code may raise anything
            last = call.asks[-1]
            excerpt = encode(answers[-1])[:EXCERPT]
            said = f"{call.function.path} cannot use the answer {excerpt!r}: {type(error).__name__}: {error}"
            failure = Failure(call.function.name, str(last.route.version), last.draft.text[:EXCERPT], said)
            self.note(last.key, failure, failures, "unread")
            call.failure = last.key
            return False

    def _ask(self, questions: list[KeyedRequest], failures: dict[bytes, Failure]) -> None:
        """Ask on the spot."""
        if self.queue is not None:
            failures |= self.queue.compute(questions, self.cancel)
            return
        by_model: dict[str, list[AnyRequest]] = {}
        for question in questions:
            by_model.setdefault(question.route.version.fingerprint, []).append(question.request)
        with self.turn():
            for requests in by_model.values():
                for _ in infer(iter(requests), self, requests[0].route.version, failures):
                    pass
            self.check_skipped()

    def _refuse(self, calls: list[Call], failures: dict[bytes, Failure]) -> None:
        """Fail the statement for a failed call, unless it said on_error := 'null'."""
        for call in calls:
            if call.failure is not None and call.on_error != "null":
                first = replace(failures[call.failure], step=call.asks[0].step if call.asks else 1)
                others = [failure for key, failure in failures.items() if key != call.failure]
                raise RequestsFailed(summary([first, *others], self.retry, self.job_id))


def _check_type(question: KeyedRequest, output: Any) -> None:
    """Refuse an output of another type than the request's: its kept text could not be decoded."""
    wanted = question.draft.output_type
    if wanted is not Text and not isinstance(output, wanted):
        raise TypeError(f"it is no {wanted.__name__}")
