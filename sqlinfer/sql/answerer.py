"""Answers one chunk of calls of a SQL function: from the store, else by recording them, else by asking the engine.

This is what a user-defined function does in all three phases; one answerer belongs to one connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from sqlinfer.errors import Interrupted, RequestsFailed, StoppedEarly
from sqlinfer.functions import Function
from sqlinfer.job_settings import JobSettings
from sqlinfer.sql.budget import Budget
from sqlinfer.sql.call import Call
from sqlinfer.sql.call_sites import SITE
from sqlinfer.sql.columns import Rows, one_chunk, struct_columns, to_array
from sqlinfer.sql.counts import Counts
from sqlinfer.sql.engine_queue import EngineQueue
from sqlinfer.sql.failures import Failure, summary
from sqlinfer.sql.options import Options
from sqlinfer.sql.pending import Origin
from sqlinfer.sql.questions import Question, Questions
from sqlinfer.sql.runtime import Runtime
from sqlinfer.sql.tally import Tally
from sqlinfer.types import Answer, Completion, ModelVersion, Request

_MEASURED_TOKENS = 1000
"""Fewer tokens than this say little about a model's speed."""

_EXCERPT = 200
"""Characters of a row's text that an error shows."""

_POLL_S = 0.2
_STOPPED = "stopped; every finished answer is kept. Run the same statement again to go on"

Record = Callable[[Sequence[Question]], None]


class Answerer:
    """The calls of one connection.

    queue: where calls ask if no phases come before them, so that each chunk is on its own. record: while set, a call
    without an answer gives NULL and its question goes there (probe); else it is asked on the spot. failures: the
    errors of this statement by key. cause: the last error raised inside DuckDB, which passes on only its text.
    job_id: the job under way, last_job_id: the one before it. unrecorded: failures that its record does not have yet.
    retry: what asks failed requests again. only: the keys of the requests that may be asked; None is all. progress:
    called with the counts after each completion. asks_pairs: whether the statement has a condition over two tables.
    defaults: the model and the on_error of calls that say none. tally: counts call by call, if somebody wants to know.
    on_read: gets each call and the answers that it reads next.
    """

    def __init__(self, runtime: Runtime, queue: EngineQueue | None = None) -> None:
        self.runtime = runtime
        self.queue = queue
        self.record: Record | None = None
        self.failures: dict[bytes, Failure] = {}
        self.unrecorded: dict[bytes, Failure] = {}
        self.retry = "run the same again"
        self.only: frozenset[bytes] | None = None
        self.counts = Counts()
        self.asks_pairs = False
        self.tally: Tally | None = None
        self.on_read: Callable[[Call, Mapping[bytes, str]], None] | None = None
        self.defaults = Options()
        self._num_skipped = 0
        self.cancel = threading.Event()
        self.cause: Exception | None = None
        self.job_id: int | None = None
        self.last_job_id: int | None = None
        self.progress: Callable[[Counts], None] = lambda _: None
        self._origins: dict[tuple[str, str | None, str, int], Origin] = {}
        self._lock = threading.Lock()

    def new_statement(self) -> None:
        """Forget what holds for one statement: which version a model's name means, and failures."""
        self._origins.clear()
        self.failures.clear()
        self._num_skipped = 0
        self.cancel.clear()
        self.cause = None

    def origin(self, function: Function, model: str | None, task: str, site: int = 0) -> Origin:
        """Who answers a function's calls; the same for all of a statement. site: the call's number, if it has one."""
        key = (function.name, model, task, site)
        if key not in self._origins:
            self._origins[key] = replace(self.runtime.origin(function, model, task), site=site)
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

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the session family's turn to ask: another thread may be asking the same questions, and what it has
        answered when the turn comes is not asked again."""
        while not self.runtime.asking.acquire(timeout=_POLL_S):
            if self.cancel.is_set():
                raise Interrupted(_STOPPED)
        try:
            yield
        finally:
            self.runtime.asking.release()

    def infer(
        self,
        version: ModelVersion,
        asked: Iterator[tuple[Origin, Request]],
        failures: dict[bytes, Failure] | None = None,
    ) -> Iterator[Completion]:
        """Ask one model version; failures are noted (where: None is the statement's). Raises Interrupted when the user
        stops it, and StoppedEarly at the job's budget and at its error threshold."""
        failures = self.failures if failures is None else failures
        labels: dict[bytes, tuple[Origin, str]] = {}
        started_s, before = time.perf_counter(), (self.counts.prompt_tokens, self.counts.completion_tokens)
        settings = self.runtime.settings.over(version.settings)
        budget = Budget(settings, self.counts)
        self.bear(settings)

        def labelled() -> Iterator[tuple[Origin, Request]]:
            for origin, request in budget.limited(self._allowed(asked)):
                labels[request.request_id] = origin, request.text[:_EXCERPT]
                yield origin, request

        with closing(self.runtime.infer(version, labelled(), self.cancel, budget.deadline_s)) as completions:
            for completion in completions:
                origin, excerpt = labels.pop(completion.request_id)
                with self._lock:
                    function = origin.function.name
                    self.counts.finished(completion, function, str(version), self.runtime.batch_fill)
                if completion.text is None:
                    failure = Failure(function, str(version), excerpt, completion.error or "no answer")
                    self._note(completion.request_id, failure, failures)
                    self.bear(settings, failures)
                self.progress(self.counts)
                budget.check()
                yield completion
        if self.cancel.is_set():
            raise Interrupted(_STOPPED)
        budget.end()
        tokens = self.counts.prompt_tokens - before[0], self.counts.completion_tokens - before[1]
        if sum(tokens) >= _MEASURED_TOKENS:
            seconds = time.perf_counter() - started_s
            self.runtime.store.jobs.record_speed(version.fingerprint, *tokens, seconds)

    def _allowed(self, asked: Iterator[tuple[Origin, Request]]) -> Iterator[tuple[Origin, Request]]:
        """The requests that may be asked; the others are counted."""
        for origin, request in asked:
            if self.only is None or request.request_id in self.only:
                yield origin, request
            else:
                self._num_skipped += 1

    def check_skipped(self) -> None:
        """Raise StoppedEarly if requests were left out because they may not be asked."""
        if self._num_skipped:
            raise StoppedEarly(
                f"Only requests that failed before were asked, and {self._num_skipped:,} others have no answer yet. "
                f"Run it without --retry-failed to ask them; all answers are kept"
            )

    def _note(self, key: bytes, failure: Failure, failures: dict[bytes, Failure], count: str = "") -> None:
        """Note a failure once, for the statement and for the job's record. count: the job's one that it adds to."""
        with self._lock:
            if key in failures:
                return
            failures[key] = failure
            if self.job_id is not None:
                self.unrecorded[key] = failure
            if count:
                setattr(self.counts, count, getattr(self.counts, count) + 1)

    def bear(self, settings: JobSettings | None = None, failures: dict[bytes, Failure] | None = None) -> None:
        """Stop the job once more requests failed than it bears. settings: with those of a model."""
        counts, settings = self.counts, settings or self.runtime.settings.over()
        if not settings.bears(counts.failed, max(counts.requests, counts.expected, counts.ended)):
            failed = self.failures if failures is None else failures
            raise StoppedEarly(
                f"The job stopped early: {counts.failed:,} requests failed, and error_threshold is "
                f"{settings.error_threshold}. {summary(failed.values(), self.retry, self.job_id)}"
            )

    def _answer(self, function: Function, columns: list[pa.ChunkedArray]) -> pa.Array:
        arrays = [one_chunk(column) for column in columns]
        options = struct_columns(arrays.pop())
        site = options.pop(SITE)[0].as_py() if SITE in options else 0
        if self.tally is not None:
            self.tally.saw(site, function.name, len(columns[0]))
        rows = Rows([*arrays, *options.values()], len(columns[0]))
        values = self.values(function, tuple(options), rows.distinct, site)
        return to_array(values, rows.index, function.returns)

    def values(
        self, function: Function, option_names: tuple[str, ...], rows: Sequence[tuple[Any, ...]], site: int = 0
    ) -> list[Any]:
        """The values of distinct rows: arguments of the function, then the options of these names. site: the call's
        number, if it has one."""
        if self.queue is not None:  # nothing says where a statement begins: a model's name may mean a newer version now
            self._origins.clear()
        make = Questions(partial(self.origin, site=site), function, option_names, self.defaults)
        calls = [Call(make, row) for row in rows]
        self._settle(calls, self.failures if self.queue is None else {})
        return [call.value for call in calls]

    def _settle(self, calls: list[Call], failures: dict[bytes, Failure]) -> None:
        """Bring calls as far as there are answers, all of them step by step together."""
        for call in calls:
            refused = call.begin()
            if refused is not None:
                call.failure = call.key
                self._note(call.key, Failure(call.function.name, "", call.excerpt, refused), failures, "refused")
        waiting = [call for call in calls if call.asks]
        while waiting:
            texts = self._texts([question for call in waiting for question in call.asks], failures)
            waiting = [call for call in waiting if self._go_on(call, texts, failures)]
        if self.record is None and failures:
            if self.queue is None:
                self.bear()
            self._refuse(calls, failures)

    def _texts(self, questions: list[Question], failures: dict[bytes, Failure]) -> dict[bytes, str]:
        """The answers' texts by key; none where there is none yet or never will be."""
        by_key = {q.key: q for q in questions}
        self.counts.seen(by_key)
        known = self._known(list(by_key), questions)
        if self.tally is not None:
            self.tally.met(questions, known)
        if len(known) < len(by_key):
            unasked = [q for key, q in by_key.items() if key not in known and key not in failures]
            if self.record is not None:
                self.record(unasked)
            else:
                self._ask(unasked, failures)
                known = known | self._known([question.key for question in unasked], unasked)
        return known

    def _known(self, keys: list[bytes], questions: list[Question]) -> dict[bytes, str]:
        """The texts of those of the keys that have an answer; questions: theirs, all of one function."""
        answers = self.runtime.store.answers
        if questions and questions[0].origin.function.is_in_steps:
            return {key: Answer.of(completion) for key, completion in answers.get_many(keys).items()}
        return answers.texts(keys)

    def _go_on(self, call: Call, texts: dict[bytes, str], failures: dict[bytes, Failure]) -> bool:
        """Hand a call the answers to what it asks, if all are there; whether it asks more."""
        answers = [texts[question.key] for question in call.asks if question.key in texts]
        if len(answers) < len(call.asks):
            call.failure = next((question.key for question in call.asks if question.key in failures), None)
            return call.failure is not None and call.fail(failures[call.failure].error)
        if self.on_read is not None:
            self.on_read(call, texts)
        try:
            return call.go_on(answers)
        except Exception as error:  # noqa: BLE001 - the author's code may raise anything
            last = call.asks[-1]
            answer = answers[-1][:_EXCERPT]
            said = f"{call.function.path} cannot use the answer {answer!r}: {type(error).__name__}: {error}"
            failure = Failure(call.function.name, str(last.origin.version), last.asked.text[:_EXCERPT], said)
            self._note(last.key, failure, failures, "unread")
            call.failure = last.key
            return False

    def _ask(self, questions: list[Question], failures: dict[bytes, Failure]) -> None:
        """Ask on the spot."""
        if self.queue is not None:
            failures |= self.queue.ask(questions, self.cancel)
            return
        by_model: dict[str, list[tuple[Origin, Request]]] = {}
        for question in questions:
            asked = by_model.setdefault(question.origin.version.fingerprint, [])
            asked.append((question.origin, question.request))
        with self.turn():
            for pairs in by_model.values():
                for _ in self.infer(pairs[0][0].version, iter(pairs), failures):
                    pass
            self.check_skipped()

    def _refuse(self, calls: list[Call], failures: dict[bytes, Failure]) -> None:
        """Fail the statement for a failed call, unless it said on_error := 'null'."""
        for call in calls:
            if call.failure is not None and call.on_error != "null":
                first = replace(failures[call.failure], step=call.asks[0].step if call.asks else 1)
                others = [failure for key, failure in failures.items() if key != call.failure]
                raise RequestsFailed(summary([first, *others], self.retry, self.job_id))
