"""Answers one chunk of calls of a SQL function: from the store, else by recording them, else by asking the engine.

This is what a user-defined function does in all three phases; one answerer belongs to one connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlinfer.errors import Interrupted, RequestsFailed
from sqlinfer.functions import Function
from sqlinfer.sql.columns import Rows, one_chunk, struct_columns, to_array
from sqlinfer.sql.counts import Counts
from sqlinfer.sql.pending import Origin
from sqlinfer.sql.questions import Question, Questions
from sqlinfer.sql.runtime import Runtime
from sqlinfer.types import Completion, ModelVersion, Request

_MEASURED_TOKENS = 1000
"""Fewer tokens than this say little about a model's speed."""

Record = Callable[[Sequence[Question]], None]


class Answerer:
    """The calls of one connection.

    record: while set, a call without an answer gives NULL and its question goes there (probe); else it is asked on
    the spot. failures: the errors of this statement by key. cause: the last error raised inside DuckDB, which
    passes on only its text. job_id: the job under way, last_job_id: the one before it. progress: called with the
    counts after each completion.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.record: Record | None = None
        self.failures: dict[bytes, Failure] = {}
        self.counts = Counts()
        self.cancel = threading.Event()
        self.cause: Exception | None = None
        self.job_id: int | None = None
        self.last_job_id: int | None = None
        self.progress: Callable[[Counts], None] = lambda _: None
        self._origins: dict[tuple[str, str | None, str], Origin] = {}
        self._lock = threading.Lock()

    def new_statement(self) -> None:
        """Forget what holds for one statement: which version a model's name means, and failures."""
        self._origins.clear()
        self.failures.clear()
        self.cancel.clear()
        self.cause = None

    def origin(self, function: Function, model: str | None, task: str) -> Origin:
        """Who answers a function's calls; the same for all of a statement."""
        known = self._origins.get((function.name, model, task))
        if known is None:
            known = self._origins[function.name, model, task] = self.runtime.origin(function, model, task)
        return known

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

    def infer(self, version: ModelVersion, asked: Iterator[tuple[Origin, Request]]) -> Iterator[Completion]:
        """Ask one model version; failures are noted, a stop by the user ends it."""
        labels: dict[bytes, tuple[Origin, str]] = {}
        started_s, before = time.perf_counter(), (self.counts.prompt_tokens, self.counts.completion_tokens)

        def labelled() -> Iterator[tuple[Origin, Request]]:
            for origin, request in asked:
                labels[request.request_id] = origin, request.text[:80]
                yield origin, request

        for completion in self.runtime.infer(version, labelled(), self.cancel):
            origin, excerpt = labels.pop(completion.request_id)
            with self._lock:
                self.counts.finished(completion)
                if completion.text is None:
                    self.failures[completion.request_id] = Failure(origin, excerpt, completion.error or "no answer")
            self.progress(self.counts)
            yield completion
        if self.cancel.is_set():
            raise Interrupted("stopped; every finished answer is kept. Run the same statement again to go on")
        tokens = self.counts.prompt_tokens - before[0], self.counts.completion_tokens - before[1]
        if sum(tokens) >= _MEASURED_TOKENS:
            seconds = time.perf_counter() - started_s
            self.runtime.store.jobs.record_speed(version.fingerprint, *tokens, seconds)

    def _answer(self, function: Function, columns: list[pa.ChunkedArray]) -> pa.Array:
        arrays = [one_chunk(column) for column in columns]
        options = struct_columns(arrays.pop())
        rows = Rows([*arrays, *options.values()], len(columns[0]))
        questions = Questions(self.origin, function, tuple(options))
        texts = self._texts([questions.of(row) for row in rows.distinct])
        read = function.read or str
        return to_array([None if text is None else read(text) for text in texts], rows.index, function.returns)

    def _texts(self, questions: list[Question | None]) -> list[str | None]:
        """The answers' texts, None where there is none yet or never will be."""
        by_key = {q.key: q for q in questions if q is not None}
        self.counts.seen(by_key)
        known = self.runtime.store.answers.texts(list(by_key))
        if len(known) < len(by_key):
            missing = [question for key, question in by_key.items() if key not in known]
            unasked = [question for question in missing if question.key not in self.failures]
            if self.record is not None:
                self.record(unasked)
            else:
                known = known | self._ask(unasked)
                self._refuse(missing)
        return [None if q is None else known.get(q.key) for q in questions]

    def _ask(self, questions: list[Question]) -> dict[bytes, str]:
        """Ask on the spot. One thread at a time: another may be asking the same question."""
        by_model: dict[str, list[tuple[Origin, Request]]] = {}
        for question in questions:
            asked = by_model.setdefault(question.origin.version.fingerprint, [])
            asked.append((question.origin, question.request))
        with self.runtime.asking:
            for pairs in by_model.values():
                for _ in self.infer(pairs[0][0].version, iter(pairs)):
                    pass
            return self.runtime.store.answers.texts([question.key for question in questions])

    def _refuse(self, questions: list[Question]) -> None:
        """Fail the statement for a failed question, unless its call said on_error := 'null'."""
        for question in questions:
            if question.on_error == "fail" and question.key in self.failures:
                raise RequestsFailed(self.failures[question.key].message(len(self.failures)))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no answer. excerpt: the beginning of its text."""

    origin: Origin
    excerpt: str
    error: str

    def message(self, num_failures: int) -> str:
        name = self.origin.function.name
        return (
            f"{num_failures} request{'s' if num_failures > 1 else ''} failed; all other answers are kept. "
            f"{name} with model {self.origin.version} on {self.excerpt!r}: {self.error}. "
            f"Write {name}(..., on_error := 'null') to get NULL for failed rows"
        )
