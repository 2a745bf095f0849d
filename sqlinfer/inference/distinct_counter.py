"""How many distinct keys were met, in eight bytes a key."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np

_COMPACT = 4_000_000


class DistinctCounter:
    """Counts distinct keys; safe from several threads."""

    def __init__(self) -> None:
        self._digests: list[np.ndarray[tuple[int], np.dtype[np.uint64]]] = []
        self._num_digests = 0
        self._lock = threading.Lock()

    def add(self, keys: Iterable[bytes]) -> None:
        """Note keys of at least eight bytes; equal ones count once."""
        digests = np.unique(np.frombuffer(b"".join([key[:8] for key in keys]), dtype=np.uint64))
        with self._lock:
            self._digests.append(digests)
            self._num_digests += len(digests)
            if self._num_digests > _COMPACT:
                self._compact()

    def count(self) -> int:
        """How many there were."""
        with self._lock:
            self._compact()
            return self._num_digests

    def exceeds(self, most: int) -> bool:
        """Whether there were more."""
        return self._num_digests > most and self.count() > most

    def _compact(self) -> None:
        if len(self._digests) > 1:
            self._digests = [np.unique(np.concatenate(self._digests))]
            self._num_digests = len(self._digests[0])
