"""A job under way: what it counts, what failed in it, and when it must stop. Knows no rows and no engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlinfer.config.job_settings import JobSettings
from sqlinfer.errors import StoppedEarly
from sqlinfer.inference.cancellation import holding
from sqlinfer.inference.counters import JobCounters
from sqlinfer.inference.failures import Failure, summary
from sqlinfer.inference.runtime import Runtime
from sqlinfer.redact import redact
from sqlinfer.types import AnyRequest, Completion, ModelVersion
from sqlinfer.units import count

_log = logging.getLogger(__name__)


class JobRunner:
    """What one statement after another asks, and how far its job is.

    failures: the errors of this statement by key. job_id: the job under way, last_job_id: the one before it.
    unrecorded: failures that its record does not have yet. retry: what asks failed requests again. only: the keys of
    the requests that may be asked; None is all. progress: called with the counts after each completion.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.counts = JobCounters()
        self.failures: dict[bytes, Failure] = {}
        self.unrecorded: dict[bytes, Failure] = {}
        self.retry = "run the same again"
        self.only: frozenset[bytes] | None = None
        self.cancel = threading.Event()
        self.job_id: int | None = None
        self.last_job_id: int | None = None
        self.progress: Callable[[JobCounters], None] = lambda _: None
        self._num_skipped = 0
        self._lock = threading.Lock()

    def new_statement(self) -> None:
        """Forget what holds for one statement."""
        self.failures.clear()
        self._num_skipped = 0
        self.cancel.clear()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the session family's turn to ask: another thread may be asking the same questions, and what it has
        answered when the turn comes is not asked again."""
        with holding(self.runtime.asking, self.cancel):
            yield

    def count(self, completion: Completion, batch_fill: float) -> None:
        """Count a completion. batch_fill: how full its batch was, 0..1."""
        with self._lock:
            self.counts.count_completion(completion, batch_fill)

    def allowed(self, requests: Iterator[AnyRequest]) -> Iterator[AnyRequest]:
        """The requests that may be asked; the others are counted."""
        for request in requests:
            if self.only is None or request.key in self.only:
                yield request
            else:
                self._num_skipped += 1

    def versions(self) -> list[ModelVersion]:
        """The model versions that were named so far, beside those that were asked."""
        return []

    def check_skipped(self) -> None:
        """Raise StoppedEarly if requests were left out because they may not be asked."""
        if self._num_skipped:
            raise StoppedEarly(
                f"Only requests that failed before were asked, and {self._num_skipped:,} others have no answer yet. "
                f"Run it without --retry-failed to ask them; all answers are kept"
            )

    def note(self, key: bytes, failure: Failure, failures: dict[bytes, Failure], count: str = "") -> None:
        """Note a failure once, for the statement and for the job's record. count: the job's one that it adds to."""
        with self._lock:
            if key in failures:
                return
            _log.debug("%s", redact(str(failure)))
            failures[key] = failure
            if self.job_id is not None:
                self.unrecorded[key] = failure
            if count:
                setattr(self.counts, count, getattr(self.counts, count) + 1)

    def check_error_threshold(
        self, settings: JobSettings | None = None, failures: dict[bytes, Failure] | None = None
    ) -> None:
        """Stop the job once more requests failed than its threshold allows. settings: with those of a model."""
        counts, settings = self.counts, settings or self.runtime.settings.over()
        if not settings.within_error_threshold(counts.failed, max(counts.requests, counts.expected, counts.ended)):
            failed = self.failures if failures is None else failures
            raise StoppedEarly(
                f"The job stopped early: {count(counts.failed, 'request')} failed, and error_threshold is "
                f"{settings.error_threshold}. {summary(failed.values(), self.retry, self.job_id)}"
            )
