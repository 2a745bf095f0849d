"""The requests of one inference that are this process's to ask: not those that are known, nor those that another
process asks just now. Knows no engine."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from itertools import islice

from sqlinfer.inference.keyed_request import Route
from sqlinfer.store import Store
from sqlinfer.types import AnyRequest, Completion, ModelVersion

_WINDOW = 512
_MOST_DEFERRED = 8192
"""Requests that are held while others answer them: a bound on memory."""
_POLL_S = 0.2

Asked = tuple[Route, AnyRequest]


class SingleFlight:
    """Requests to ask, and what becomes of them. asked: in the order to ask; cancel: ends the waiting for others."""

    def __init__(self, store: Store, asked: Iterator[Asked], cancel: threading.Event) -> None:
        self._store = store
        self._lease = store.lease()
        self._asked = asked
        self._cancel = cancel
        self._deferred: list[Asked] = []
        self._names: dict[bytes, str] = {}
        self._is_checked = False

    def rounds(self) -> Generator[Iterator[AnyRequest]]:
        """The requests to ask; then those that others claimed and did not answer, until all have been answered.

        A round must be asked to its end before the next one: what is claimed here waits for nobody.
        """
        try:
            while True:
                before = len(self._deferred)
                yield self._requests()
                if not self._deferred or self._cancel.is_set():
                    return
                if before and len(self._deferred) >= before:
                    self._cancel.wait(_POLL_S)
        finally:
            self._store.answers.flush()
            self._lease.release()

    def keep(self, completion: Completion, version: ModelVersion) -> None:
        """Take note of a completion; an answer is kept. Raises ModelUnusable if the model's files have changed."""
        if not self._is_checked:  # the weights are read by now, and not before the first completion
            self._store.registry.check_unchanged(version)
            self._is_checked = True
        function = self._names.pop(completion.request.key)
        if completion.output is not None:
            self._store.answers.put(completion, fingerprint=version.fingerprint, function=function)
        self._lease.touch()

    def _requests(self) -> Iterator[AnyRequest]:
        first, self._deferred = self._deferred, []
        for at in range(0, len(first), _WINDOW):
            yield from self._ours(first[at : at + _WINDOW])
        while len(self._deferred) < _MOST_DEFERRED and (window := list(islice(self._asked, _WINDOW))):
            yield from self._ours(window)

    def _ours(self, window: list[Asked]) -> Iterator[AnyRequest]:
        """Those of a window that are to be asked here. Claimed first: what is known now was so before or is ours."""
        keys = [request.key for _, request in window]
        self._store.answers.flush()
        taken = self._lease.take(keys, self._names)
        known = self._store.answers.texts(keys)
        ours = []
        for origin, request in window:
            if request.key in known:
                continue
            if request.key in taken:
                self._deferred.append((origin, request))
            else:
                self._names[request.key] = origin.function.name
                ours.append(request)
        yield from ours
