"""What each call of a script asks, counted while a probe runs. Knows no SQL and no engine."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlinfer.inference.distinct_counter import DistinctCounter
from sqlinfer.inference.keyed_request import KeyedRequest, Route
from sqlinfer.types import ModelVersion


class CallKey(NamedTuple):
    """One call asking one model version. site: the call's number; 0 for calls that have none."""

    site: int
    function: str
    fingerprint: str

    @classmethod
    def of(cls, origin: Route) -> CallKey:
        return cls(origin.site, origin.function.name, origin.version.fingerprint)


class CallStats:
    """rows: that a call saw, by its number and function. requests: distinct ones; known: those of them that have an
    answer already. versions: that are asked, by fingerprint."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str], int] = {}
        self.requests: dict[CallKey, DistinctCounter] = {}
        self.known: dict[CallKey, DistinctCounter] = {}
        self.versions: dict[str, ModelVersion] = {}
        self._lock = threading.Lock()

    def saw(self, site: int, function: str, num_rows: int) -> None:
        """Note rows of a call."""
        with self._lock:
            self.rows[site, function] = self.rows.get((site, function), 0) + num_rows

    def met(self, questions: Sequence[KeyedRequest], known: Collection[bytes]) -> None:
        """Note questions, and which of their keys have an answer."""
        by_asker: dict[CallKey, list[bytes]] = {}
        with self._lock:
            for question in questions:
                asker = CallKey.of(question.origin)
                by_asker.setdefault(asker, []).append(question.key)
                self.versions[asker.fingerprint] = question.origin.version
            for asker, keys in by_asker.items():
                self.requests.setdefault(asker, DistinctCounter()).add(keys)
                self.known.setdefault(asker, DistinctCounter()).add(key for key in keys if key in known)
