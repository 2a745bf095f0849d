"""One execution: what it counts, what failed in it, when it must stop, and its record. Knows no rows and no engine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlinfer.config.job_settings import JobSettings
from sqlinfer.errors import SqlinferError, StoppedEarly
from sqlinfer.inference.cancellation import holding
from sqlinfer.inference.counters import JobCounters
from sqlinfer.inference.failures import Failure, Failures, summary
from sqlinfer.inference.runtime import Runtime
from sqlinfer.redact import redact
from sqlinfer.types import AnyRequest, Completion, Engine, ModelVersion
from sqlinfer.units import count

ShowProgress = Callable[[JobCounters], None]
"""Called with the counts of a job after each completion."""

RETRY_HINT = "run the same again"
_UPDATE_S = 1.0
_TICK_S = 0.5
_log = logging.getLogger(__name__)


def show_nothing(_: JobCounters) -> None:
    """A ShowProgress."""


@dataclass(eq=False)
class Job:
    """One execution."""

    runtime: Runtime
    """Of the session that runs it."""
    cancel: threading.Event
    """Ends it."""
    show_progress: ShowProgress = show_nothing
    """Called after each completion."""
    retry_hint: str = RETRY_HINT
    """How a user computes failed requests again."""
    only: frozenset[bytes] | None = None
    """The keys of the requests that it may compute; None is all."""
    job_id: int | None = None
    """Of its record in the store; None if none is kept."""
    counts: JobCounters = field(default_factory=JobCounters)
    """Of all its statements."""
    _versions: dict[str, ModelVersion] = field(default_factory=dict)
    _unrecorded: Failures = field(default_factory=dict)
    _written: dict[str, set[str]] = field(default_factory=dict)
    _target: str | None = None
    _num_skipped: int = 0
    _updated_s: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _reporting: threading.RLock = field(default_factory=threading.RLock)
    _engine: Engine | None = None

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Compute inside, alone in the session family: what another thread computed meanwhile is cached then. Raises
        StoppedEarly in the end if requests were left out because the job may not compute them."""
        with holding(self.runtime.inference_lock, self.cancel), self.counts.phase("infer"):
            self._num_skipped = 0
            yield
            if self._num_skipped:
                raise StoppedEarly(
                    f"Only requests that failed before were asked, and {self._num_skipped:,} others have no answer "
                    f"yet. Run it without --retry-failed to ask them; all answers are kept"
                )

    def allowed(self, requests: Iterator[AnyRequest]) -> Iterator[AnyRequest]:
        """The requests that the job may compute; the others are counted."""
        for request in requests:
            if self.only is None or request.key in self.only:
                yield request
            else:
                self._num_skipped += 1

    def note_version(self, version: ModelVersion) -> None:
        """Note a model version that a call named."""
        self._versions.setdefault(version.fingerprint, version)
        if self._target is not None:
            self._written[self._target].add(str(version))

    @contextmanager
    def writing(self, target: str | None, replaces: bool = False) -> Iterator[None]:
        """Note the model versions that are used inside as those of a table or file, unless writing it fails. Inside of
        another target it is part of that one. replaces: nothing is left of what was there."""
        if target is None or self._target is not None:
            yield
            return
        before = set(self._written.get(target, ()))
        self._written[target], self._target = set() if replaces else set(before), target
        try:
            yield
        except BaseException:
            self._written[target] = before
            raise
        finally:
            self._target = None

    def note_completion(self, completion: Completion, batch_fill: float) -> None:
        """Count a completion. batch_fill: how full its batch was, 0..1."""
        with self._lock:
            self.counts.count_completion(completion, batch_fill)

    def note_failure(self, key: bytes, failure: Failure, failures: Failures, counter: str = "") -> None:
        """Note a failure once: among the statement's, and for the record. counter: that it adds to."""
        with self._lock:
            if key in failures:
                return
            _log.debug("%s", redact(str(failure)))
            failures[key] = failure
            if self.job_id is not None:
                self._unrecorded[key] = failure
            if counter:
                self.counts.count_failure(counter)

    def check_error_threshold(self, failures: Failures, settings: JobSettings | None = None) -> None:
        """Stop the job once more requests failed than its threshold allows. settings: with those of a model."""
        counts, settings = self.counts, settings or self.runtime.settings.over()
        if not settings.within_error_threshold(counts.failed, counts.attempted):
            raise StoppedEarly(
                f"The job stopped early: {count(counts.failed, 'request')} failed, and error_threshold is "
                f"{settings.error_threshold}. {summary(failures.values(), self.retry_hint, self.job_id)}"
            )

    @contextmanager
    def computing_with(self, engine: Engine) -> Iterator[None]:
        """While open, the engine says what goes on until it answers."""
        self._engine = engine
        try:
            yield
        finally:
            self._engine = None
            self.counts.note_activity("")

    def report(self) -> None:
        """Show how far the job is, and bring its record up to date from time to time."""
        with self._reporting:
            if self._engine is not None:
                self.counts.note_activity(getattr(self._engine, "activity", ""))
            self.show_progress(self.counts)
            now_s = time.monotonic()
            if self.job_id is not None and now_s - self._updated_s >= _UPDATE_S:
                self._updated_s = now_s
                self.runtime.store.jobs.update(self.job_id, **self.counts.as_record())
                self._record_failures()

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """While open, report by the clock too: it may take minutes to read the rows or to load a model."""
        ended = threading.Event()

        def tick() -> None:
            while not ended.wait(_TICK_S):
                with suppress(SqlinferError):  # of the store; who uses it meanwhile raises it
                    self.report()

        thread = threading.Thread(target=tick, name="sqlinfer-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def finish(self, state: Any, error: str | None) -> None:
        """Record how the job ended."""
        assert self.job_id is not None
        jobs, usage = self.runtime.store.jobs, self.counts.usage
        models = [str(version) for version in self._versions.values()] or sorted({model for _, model in usage})
        written = {target: sorted(versions) for target, versions in self._written.items() if versions}
        jobs.finish(self.job_id, state, error, models=models, written=written, **self.counts.as_record())
        costs = self.counts.costs
        jobs.add_usage(self.job_id, [(*call, *amounts, costs.get(call, 0.0)) for call, amounts in usage.items()])
        self._record_failures()

    def _record_failures(self) -> None:
        with self._lock:
            failures, self._unrecorded = self._unrecorded, {}
        if failures and self.job_id is not None:
            rows = [(key, each.function, each.model, each.excerpt, each.error) for key, each in failures.items()]
            self.runtime.store.jobs.add_errors(self.job_id, rows)
