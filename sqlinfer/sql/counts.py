"""What a job counts: rows, distinct requests, tokens, seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import numpy as np

from sqlinfer.types import Completion

_COMPACT = 4_000_000


class Counts:
    """Counts of one job. requests: distinct requests that its statements met; known: answered before it began."""

    def __init__(self) -> None:
        self.rows = 0
        self.generated = 0
        self.failed = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.expected = 0
        self._started_s = time.perf_counter()
        self._digests: list[np.ndarray[tuple[int], np.dtype[np.uint64]]] = []
        self._num_digests = 0
        self._lock = threading.Lock()

    def seen(self, keys: Iterable[bytes]) -> None:
        """Note that these requests were met; equal ones count once. Holds eight bytes a request."""
        digests = np.unique(np.frombuffer(b"".join([key[:8] for key in keys]), dtype=np.uint64))
        with self._lock:
            self._digests.append(digests)
            self._num_digests += len(digests)
            if self._num_digests > _COMPACT:
                self._compact()

    def finished(self, completion: Completion) -> None:
        """Note one completion of the engine."""
        if completion.text is None:
            self.failed += 1
        else:
            self.generated += 1
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens

    @property
    def requests(self) -> int:
        with self._lock:
            self._compact()
            return self._num_digests

    @property
    def known(self) -> int:
        return max(0, self.requests - self.generated - self.failed)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the job began."""
        return time.perf_counter() - self._started_s

    def as_dict(self) -> dict[str, float]:
        """The counts by the names that a job's record has."""
        names = ("rows", "requests", "known", "generated", "failed", "prompt_tokens", "completion_tokens", "seconds")
        return {name: getattr(self, name) for name in names}

    def _compact(self) -> None:
        if len(self._digests) > 1:
            self._digests = [np.unique(np.concatenate(self._digests))]
            self._num_digests = len(self._digests[0])
