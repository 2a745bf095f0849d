"""Dynamic batching of concurrent calls: each model has one run of its engine at a time, which later requests join.

Knows no engine and no connection.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from sqlinfer.errors import Interrupted, SqlinferError
from sqlinfer.inference.cancellation import StopSignal, wait_for
from sqlinfer.inference.failures import Failure, Failures
from sqlinfer.inference.keyed_request import KeyedRequest
from sqlinfer.inference.single_flight import WINDOW
from sqlinfer.types import AnyRequest, Completion, ModelVersion
from sqlinfer.units import count

Infer = Callable[[ModelVersion, Iterator[AnyRequest]], Iterator[Completion]]


class RequestQueue:
    """Coalesces the requests of calls.

    infer: runs one model version.
    cached: those of the keys that have an answer.
    stop: ends what infer does.
    """

    def __init__(
        self, infer: Infer, cached: Callable[[Sequence[bytes]], Collection[bytes]], stop: threading.Event
    ) -> None:
        self._infer = infer
        self._cached = cached
        self._stop = stop
        self._lock = threading.Lock()
        self._entries: dict[bytes, _Entry] = {}
        self._waiting: dict[str, deque[_Entry]] = {}  # by fingerprint; a model that is here has a thread
        self._idle = threading.Condition(self._lock)
        self._num_cancelled = Counter[str]()  # by fingerprint
        self._is_closed = False

    def compute(self, requests: Sequence[KeyedRequest], cancel: StopSignal) -> Failures:
        """Wait until each request has a cached answer or is among the failures. Raises what ended the run, and
        Interrupted when the call is cancelled; what nobody else waits for is not computed then."""
        if not requests:
            return {}
        waiter = _Waiter()
        with self._lock:
            if self._is_closed:
                raise Interrupted
            entries = [self._coalesce(request, waiter) for request in requests]
        try:
            wait_for(waiter.is_done.wait, cancel)
        finally:
            with self._lock:
                for entry in entries:
                    entry.waiters.remove(waiter)
        if waiter.error is not None:
            raise waiter.error
        return {entry.key: entry.failure for entry in entries if entry.failure is not None}

    def close(self) -> None:
        """Stop computing, and wait until no model runs any more: within a step of the engine. A run whose calls all
        have their answers ends by itself, as done."""
        with self._idle:
            self._is_closed = True
            if self._entries:
                self._stop.set()
            self._idle.wait_for(lambda: not self._waiting)

    def take_cancelled(self, version: ModelVersion) -> int:
        """How many requests of a model were cancelled since this was asked last."""
        with self._lock:
            return self._num_cancelled.pop(version.fingerprint, 0)

    def _coalesce(self, request: KeyedRequest, waiter: _Waiter) -> _Entry:
        """The entry of a request, which equal requests share."""
        entry = self._entries.get(request.key)
        if entry is None:
            entry = self._entries[request.key] = _Entry(request)
            version = request.route.version
            if version.fingerprint not in self._waiting:
                self._waiting[version.fingerprint] = deque()
                threading.Thread(target=self._run, args=(version,), daemon=True).start()
            self._waiting[version.fingerprint].append(entry)
        entry.add(waiter)
        return entry

    def _run(self, version: ModelVersion) -> None:
        """Run a model until nothing is left."""
        while True:
            in_flight: dict[bytes, _Entry] = {}
            error: BaseException | None = None
            try:
                for completion in self._infer(version, self._requests(version, in_flight)):
                    entry = in_flight.pop(completion.request.key)
                    if completion.is_cancelled:
                        self._drop(entry)
                    else:
                        self._finish([entry], Failure.of(completion))
                self._check(version, in_flight)
            except BaseException as raised:  # noqa: BLE001 - it is raised again in the calls
                error = raised
            with self._lock:
                waiting = self._waiting[version.fingerprint]
                if error is not None:
                    in_flight |= {entry.key: entry for entry in waiting}
                    waiting.clear()
            self._finish(in_flight.values(), error=error)
            with self._lock:
                if not waiting:
                    del self._waiting[version.fingerprint]
                    self._idle.notify_all()
                    return

    def _requests(self, version: ModelVersion, in_flight: dict[bytes, _Entry]) -> Iterator[AnyRequest]:
        """What waits, in order of coming; ends when nothing waits, as the engine must not."""
        while True:
            with self._lock:
                waiting = self._waiting[version.fingerprint]
                window = [waiting.popleft() for _ in range(min(WINDOW, len(waiting)))]
                wanted = [entry for entry in window if not entry.is_abandoned()]
                for entry in window:
                    if entry.is_abandoned():
                        self._forget(entry)
            if not window:
                return
            cached = self._cached([entry.key for entry in wanted])
            self._finish([entry for entry in wanted if entry.key in cached])
            for entry in wanted:
                if entry.key not in cached:
                    in_flight[entry.key] = entry
                    yield replace(entry.request.request, is_cancelled=entry.is_abandoned)

    def _drop(self, entry: _Entry) -> None:
        """Forget a request that was cancelled; one that a call has joined meanwhile waits once more."""
        with self._lock:
            if entry.is_abandoned():
                self._forget(entry)
            else:
                self._waiting[entry.request.route.version.fingerprint].append(entry)

    def _forget(self, entry: _Entry) -> None:
        del self._entries[entry.key]
        self._num_cancelled[entry.request.route.version.fingerprint] += 1

    def _check(self, version: ModelVersion, in_flight: Mapping[bytes, _Entry]) -> None:
        """What was handed over and did not come back has been answered by another process."""
        missing = len(in_flight) - len(self._cached(list(in_flight)))
        if missing:
            raise SqlinferError(
                f"{version} gave no answer to {count(missing, 'request')}, and no error; run the same again"
            )

    def _finish(
        self, entries: Collection[_Entry], failure: Failure | None = None, error: BaseException | None = None
    ) -> None:
        """Wake the calls that wait for these requests and no others."""
        with self._lock:
            for entry in entries:
                self._entries.pop(entry.key, None)
                entry.finish(failure, error)


class _Waiter:
    """A call that waits. error: what ended one of its requests."""

    __slots__ = ("_num_open", "error", "is_done")

    def __init__(self) -> None:
        self._num_open = 0
        self.is_done = threading.Event()
        self.error: BaseException | None = None

    def open(self) -> None:
        """Wait for one more request."""
        self._num_open += 1

    def finish(self, error: BaseException | None) -> None:
        """Note that one of its requests ended."""
        self.error = self.error or error
        self._num_open -= 1
        if self._num_open == 0:
            self.is_done.set()


class _Entry:
    """A request that is to be computed, and the calls that wait for it."""

    __slots__ = ("failure", "key", "request", "waiters")

    def __init__(self, request: KeyedRequest) -> None:
        self.request = request
        self.key = request.key
        self.waiters: list[_Waiter] = []
        self.failure: Failure | None = None

    def add(self, waiter: _Waiter) -> None:
        """Let one more call wait for it."""
        self.waiters.append(waiter)
        waiter.open()

    def is_abandoned(self) -> bool:
        """Whether no call waits for it any more."""
        return not self.waiters

    def finish(self, failure: Failure | None, error: BaseException | None) -> None:
        """Wake the calls that wait for it and for nothing else."""
        self.failure = failure
        for waiter in self.waiters:
            waiter.finish(error)
