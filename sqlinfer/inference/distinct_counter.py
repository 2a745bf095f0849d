"""How many distinct keys were met, in eight bytes a key."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np

_Digests = np.ndarray[tuple[int], np.dtype[np.uint64]]


class DistinctCounter:
    """Counts distinct keys; safe from several threads.

    Digests are kept in sorted arrays without a common element, each at least twice as long as the next, so that a key
    is looked up in few of them and the count, which is asked for while rows are read, costs nothing.
    """

    def __init__(self) -> None:
        self._arrays: list[_Digests] = []
        self._num_digests = 0
        self._lock = threading.Lock()

    def add(self, keys: Iterable[bytes]) -> None:
        """Note keys of at least eight bytes; equal ones count once."""
        digests: _Digests = np.unique(np.frombuffer(b"".join([key[:8] for key in keys]), dtype=np.uint64))
        with self._lock:
            for array in self._arrays:
                positions = np.minimum(np.searchsorted(array, digests), len(array) - 1)
                digests = digests[array[positions] != digests]
            if not len(digests):
                return
            self._num_digests += len(digests)
            while self._arrays and len(self._arrays[-1]) < 2 * len(digests):
                digests = np.sort(np.concatenate([self._arrays.pop(), digests]))
            self._arrays.append(digests)

    def count(self) -> int:
        """How many there were."""
        return self._num_digests

    def exceeds(self, most: int) -> bool:
        """Whether there were more."""
        return self._num_digests > most
