"""Running batches that requests join as they come, for callers that keep no answers. Knows no SQL and no store.

A batch lives as long as it has requests; the next one begins a batch anew.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from sqlinfer.errors import Interrupted, SqlinferError
from sqlinfer.types import AnyRequest, Cancel, Completion, ModelVersion

End = Completion | BaseException
"""How a request ended; an error has ended the whole batch."""


class QueueFull(SqlinferError):
    """More requests are unfinished than the queue takes."""


class LiveEngine(Protocol):
    """An Engine whose running batch requests may join."""

    def generate(self, requests: Iterable[AnyRequest | None], cancel: Cancel | None = None) -> Iterator[Completion]:
        """As of an Engine. A None among the requests says that none waits now, while some are unfinished."""
        ...


class LiveBatches:
    """One batch a model version. open_engine: of a version. max_requests: that may be unfinished at once, of all
    models."""

    def __init__(self, open_engine: Callable[[ModelVersion], LiveEngine], max_requests: int) -> None:
        self._open_engine = open_engine
        self.max_requests = max_requests
        self._lock = threading.Lock()
        self._batches: dict[tuple[str, str], _LiveBatch] = {}

    @property
    def num_requests(self) -> int:
        """Requests that wait or run."""
        with self._lock:
            return sum(batch.num_requests for batch in self._batches.values())

    def submit(self, version: ModelVersion, requests: Sequence[AnyRequest]) -> None:
        """Let requests join the batch of a model. The route of each is a function that gets its End, in a thread of
        the batch. Raises QueueFull, and then none has joined."""
        with self._lock:
            num_requests = sum(batch.num_requests for batch in self._batches.values())
            if num_requests + len(requests) > self.max_requests:
                raise QueueFull(f"{num_requests:,} requests wait or run, and the queue takes {self.max_requests:,}")
            key = (version.fingerprint, version.dtype)
            if key not in self._batches:
                self._batches[key] = _LiveBatch(self._open_engine(version))
            self._batches[key].add(requests)

    def close(self) -> None:
        """End all batches within a step; what is unfinished ends by Interrupted."""
        with self._lock:
            for batch in self._batches.values():
                batch.close()


class _LiveBatch:
    """The requests of one model that wait or run."""

    def __init__(self, engine: LiveEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._waiting: deque[AnyRequest] = deque()
        self._running: dict[int, AnyRequest] = {}  # by id: equal requests are not the same
        self._thread: threading.Thread | None = None

    @property
    def num_requests(self) -> int:
        return len(self._waiting) + len(self._running)

    def add(self, requests: Sequence[AnyRequest]) -> None:
        with self._lock:
            self._waiting.extend(requests)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sqlinfer-batch", daemon=True)
                self._thread.start()

    def close(self) -> None:
        self._cancel.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        """Run the engine until nothing waits."""
        while True:
            error: BaseException | None = None
            try:
                for completion in self._engine.generate(self._requests(), self._cancel):
                    del self._running[id(completion.request)]
                    completion.request.route(completion)
            except BaseException as raised:  # noqa: BLE001 - it ends every request of the batch
                error = raised
            with self._lock:
                unfinished = list(self._running.values())
                self._running.clear()
                if error is not None or self._cancel.is_set():
                    unfinished += self._waiting
                    self._waiting.clear()
                is_over = not self._waiting
                if is_over:
                    self._thread = None
            for request in unfinished:
                request.route(error or Interrupted("the batch was stopped"))
            if is_over:
                return

    def _requests(self) -> Iterator[AnyRequest | None]:
        """What waits, and None where nothing does; ends when nothing runs either."""
        while True:
            with self._lock:
                joining = list(self._waiting)
                self._waiting.clear()
                self._running.update((id(request), request) for request in joining)
            yield from joining
            if not self._running:
                return
            yield None
