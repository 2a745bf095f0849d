"""Per-call statistics of a script's AI calls, counted while it is probed. Knows no SQL and no engine."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlinfer.inference.distinct_counter import DistinctCounter
from sqlinfer.inference.keyed_request import KeyedRequest, Route
from sqlinfer.types import ModelVersion, SplitText


class CallKey(NamedTuple):
    """One call on one model version."""

    site: int
    """The call's number; 0 for calls that have none."""
    function: str
    """Its name."""
    fingerprint: str
    """Of the model version."""

    @classmethod
    def of(cls, route: Route) -> CallKey:
        return cls(route.site, route.function.name, route.version.fingerprint)


class CallStats:
    """What calls bring.

    rows: by the call's number and function.
    requests: distinct ones.
    cached: those of them that are cached.
    scored: those whose rows are scored without requests.
    versions: of the models, by fingerprint.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str], int] = {}
        self.requests: dict[CallKey, DistinctCounter] = {}
        self.cached: dict[CallKey, DistinctCounter] = {}
        self.scored: set[CallKey] = set()
        self.versions: dict[str, ModelVersion] = {}
        self._lock = threading.Lock()

    def count_rows(self, site: int, function: str, num_rows: int) -> None:
        """Count rows of a call."""
        with self._lock:
            self.rows[site, function] = self.rows.get((site, function), 0) + num_rows

    def count_scored(self, site: int, function: str, num_rows: int, versions: Iterable[ModelVersion]) -> None:
        """Count rows of a call that models score without requests."""
        self.count_rows(site, function, num_rows)
        with self._lock:
            for version in versions:
                key = CallKey(site, function, version.fingerprint)
                self.versions[version.fingerprint] = version
                self.scored.add(key)
                self.requests.setdefault(key, DistinctCounter())
                self.cached.setdefault(key, DistinctCounter())

    def count_requests(self, requests: Sequence[KeyedRequest], cached: Collection[bytes]) -> None:
        """Count requests of a model; one that asks where to cut a text stands for those on its parts until it has an
        answer. cached: the keys of those that have an answer."""
        by_call: dict[CallKey, list[bytes]] = {}
        with self._lock:
            for request in requests:
                call = CallKey.of(request.route)
                keys = by_call.setdefault(call, [])
                is_for_parts = isinstance(request.draft, SplitText) and request.key not in cached
                if request.needs_weights or is_for_parts:
                    keys.append(request.key)
                self.versions[call.fingerprint] = request.route.version
            for call, keys in by_call.items():
                self.requests.setdefault(call, DistinctCounter()).add(keys)
                self.cached.setdefault(call, DistinctCounter()).add(key for key in keys if key in cached)
