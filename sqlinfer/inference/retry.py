"""Asks an engine, and asks again what failed and may pass. Knows no store, no SQL and no budget."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator

from sqlinfer.config.job_settings import JobSettings
from sqlinfer.redact import redact
from sqlinfer.types import AnyRequest, Completion, Engine

_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_HELD = 10_000
"""Failed requests that are held to be asked again; where more fail, asking again does not help."""

_log = logging.getLogger(__name__)


class Deadline:
    """What an engine polls between two steps, as it would a threading.Event: set by the user, by too long a time
    without an answer, or at a deadline. timeout: seconds. deadline_s: of time.monotonic()."""

    def __init__(self, cancel: threading.Event, timeout: float | None, deadline_s: float | None) -> None:
        self._cancel = cancel
        self._timeout = timeout
        self._deadline_s = deadline_s
        self.progressed()

    def progressed(self) -> None:
        """An answer came."""
        self._waiting_s = time.monotonic()

    @property
    def is_late(self) -> bool:
        """Whether no answer came in time."""
        return self._timeout is not None and time.monotonic() - self._waiting_s > self._timeout

    @property
    def is_over(self) -> bool:
        """Whether the user stopped or the deadline is past: nothing is asked any more."""
        return self._cancel.is_set() or (self._deadline_s is not None and time.monotonic() > self._deadline_s)

    def is_set(self) -> bool:
        """Whether the engine shall end."""
        return self.is_over or self.is_late

    def wait(self, seconds: float) -> bool:
        """Sleep; whether the user stopped meanwhile."""
        if self._deadline_s is not None:
            seconds = min(seconds, max(0.0, self._deadline_s - time.monotonic()))
        return self._cancel.wait(seconds)


def ask(
    engine: Engine,
    requests: Iterable[AnyRequest],
    settings: JobSettings,
    cancel: threading.Event,
    deadline_s: float | None = None,
) -> Iterator[Completion]:
    """One completion a request, in order of finishing. A failure that may pass is asked again up to max_retries times,
    after a pause that doubles. Requests without an answer when nothing finished for `timeout` seconds fail likewise."""
    source, waiting, failed = iter(requests), deque[AnyRequest](), RetryCounter(settings.max_retries)
    while True:
        stop, asked = Deadline(cancel, settings.timeout, deadline_s), _Asked(waiting, source)
        broken: OSError | None = None
        try:
            for completion in engine.generate(asked, stop):
                request = asked.in_flight.pop(completion.request.key)
                is_retryable = completion.is_retryable and len(failed.again) < _HELD
                if not (is_retryable and failed.takes(request, completion.error or "")):
                    yield completion
                stop.progressed()
        except OSError as error:  # of the machine or the network; other errors would be the same the next time
            if asked.error is not None:
                raise
            broken = error
        if stop.is_over:
            return
        if broken is None and asked.in_flight and stop.is_late:
            broken = TimeoutError(f"no answer within the timeout of {settings.timeout:g} s")
        if broken is None and not failed.again:
            return
        for request in asked.in_flight.values():
            if failed.takes(request, str(broken or "")):
                continue
            if isinstance(broken, TimeoutError):
                yield Completion(request, error=str(broken), finish_reason="error", is_retryable=True)
            elif broken is not None:
                raise broken
        if failed.again and stop.wait(failed.queue_again(waiting)):
            return


class RetryCounter:
    """Counts the failures of each request. again: the requests that are asked again after this attempt."""

    def __init__(self, max_retries: int) -> None:
        self.again: list[AnyRequest] = []
        self._max_retries = max_retries
        self._counts: dict[bytes, int] = {}
        self._said = ""

    def takes(self, request: AnyRequest, said: str) -> bool:
        """Note a failure and what was said of it; whether the request is asked once more."""
        self._counts[request.key] = self._counts.get(request.key, 0) + 1
        may_retry = self._counts[request.key] <= self._max_retries
        if may_retry:
            self.again.append(request)
            self._said = said or self._said
        return may_retry

    def queue_again(self, waiting: deque[AnyRequest]) -> float:
        """Queue the requests that are asked again. Returns the seconds to wait before; the log says so."""
        tries = max(self._counts[request.key] for request in self.again)
        pause_s: float = min(_BACKOFF_S * 2 ** (tries - 1), _LONGEST_BACKOFF_S)
        _log.warning("%d requests are asked again in %.1f s: %s", len(self.again), pause_s, redact(self._said))
        waiting.extend(self.again)
        self.again = []
        return pause_s


class _Asked:
    """Requests as an engine takes them: those that wait, then those of the source. in_flight: taken and not yet
    answered. error: the source's own."""

    def __init__(self, waiting: deque[AnyRequest], source: Iterator[AnyRequest]) -> None:
        self._waiting = waiting
        self._source = source
        self.in_flight: dict[bytes, AnyRequest] = {}
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[AnyRequest]:
        return self

    def __next__(self) -> AnyRequest:
        try:
            request = self._waiting.popleft() if self._waiting else next(self._source)
        except Exception as error:
            self.error = None if isinstance(error, StopIteration) else error
            raise
        self.in_flight[request.key] = request
        return request
