"""The stage that retries what failed and may pass: the machine's errors, and time without an answer.

Knows no store, no SQL and no budget.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator

from sqlinfer.backends import backend_of
from sqlinfer.config.job_settings import JobSettings
from sqlinfer.inference.cancellation import StopSignal
from sqlinfer.inference.stage import Inference, NextStage
from sqlinfer.redact import redact
from sqlinfer.types import AnyRequest, Completion

_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_HELD = 10_000
"""Failed requests that are held for a retry; where more fail, a retry does not help."""

_log = logging.getLogger(__name__)


def retry(
    generate: NextStage, inference: Inference, requests: Iterator[AnyRequest], cancel: StopSignal
) -> Iterator[Completion]:
    """Retry what failed and may pass, unless the engine does so itself."""
    if backend_of(inference.version).retries:
        return generate(requests, cancel)
    return attempts(generate, requests, cancel, inference.settings)


class Timeout:
    """A StopSignal that is also set when no completion has come for some seconds; None waits for ever."""

    def __init__(self, cancel: StopSignal, seconds: float | None) -> None:
        self._cancel = cancel
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Count the seconds anew: a completion came."""
        self._started_s = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether no completion came in time."""
        return self._seconds is not None and time.monotonic() - self._started_s > self._seconds

    def is_set(self) -> bool:
        return self._cancel.is_set() or self.is_over

    def wait(self, timeout: float) -> bool:
        return self._cancel.wait(timeout) or self.is_set()


def attempts(
    generate: NextStage, requests: Iterable[AnyRequest], cancel: StopSignal, settings: JobSettings
) -> Iterator[Completion]:
    """One completion a request, in order of finishing. A retryable failure is computed again up to max_retries times,
    after a pause that doubles. Requests without an answer when nothing finished for `timeout` seconds fail likewise."""
    source, waiting, counter = iter(requests), deque[AnyRequest](), RetryCounter(settings.max_retries)
    while True:
        timeout, in_flight = Timeout(cancel, settings.timeout), InFlight(waiting, source)
        broken: OSError | None = None
        try:
            for completion in generate(in_flight, timeout):
                in_flight.requests.pop(completion.request.key)
                is_retryable = completion.is_retryable and len(counter.again) < _HELD
                if not (is_retryable and counter.takes(completion.request, completion.error or "")):
                    yield completion
                timeout.restart()
        except OSError as error:  # of the machine or the network; other errors would be the same the next time
            if in_flight.error is not None:
                raise
            broken = error
        if cancel.is_set():
            return
        if broken is None and in_flight.requests and timeout.is_over:
            broken = TimeoutError(f"no answer within the timeout of {settings.timeout:g} s")
        if broken is None and not counter.again:
            return
        for request in in_flight.requests.values():
            if counter.takes(request, str(broken or "")):
                continue
            if isinstance(broken, TimeoutError):
                yield Completion(request, error=str(broken), finish_reason="error", is_retryable=True)
            elif broken is not None:
                raise broken
        if counter.again and cancel.wait(counter.queue_again(waiting)):
            return


class RetryCounter:
    """Counts the failures of each request.

    again: the requests that are computed again after this attempt.
    """

    def __init__(self, max_retries: int) -> None:
        self.again: list[AnyRequest] = []
        self._max_retries = max_retries
        self._counts: dict[bytes, int] = {}
        self._error = ""

    def takes(self, request: AnyRequest, error: str) -> bool:
        """Count a failure; whether the request is computed once more."""
        self._counts[request.key] = self._counts.get(request.key, 0) + 1
        may_retry = self._counts[request.key] <= self._max_retries
        if may_retry:
            self.again.append(request)
            self._error = error or self._error
        return may_retry

    def queue_again(self, waiting: deque[AnyRequest]) -> float:
        """Queue the requests that are computed again. Returns the seconds to wait before; the log says so."""
        tries = max(self._counts[request.key] for request in self.again)
        pause_s: float = min(_BACKOFF_S * 2 ** (tries - 1), _LONGEST_BACKOFF_S)
        _log.warning("%d requests are asked again in %.1f s: %s", len(self.again), pause_s, redact(self._error))
        waiting.extend(self.again)
        self.again = []
        return pause_s


class InFlight:
    """Requests as an engine takes them: those that wait, then those of the source.

    requests: taken and not yet ended, by key.
    error: the source's own.
    """

    def __init__(self, waiting: deque[AnyRequest], source: Iterator[AnyRequest]) -> None:
        self._waiting = waiting
        self._source = source
        self.requests: dict[bytes, AnyRequest] = {}
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[AnyRequest]:
        return self

    def __next__(self) -> AnyRequest:
        try:
            request = self._waiting.popleft() if self._waiting else next(self._source)
        except Exception as error:
            self.error = None if isinstance(error, StopIteration) else error
            raise
        self.requests[request.key] = request
        return request
