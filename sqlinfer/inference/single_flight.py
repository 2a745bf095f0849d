"""Single flight: each request is computed by one process, others wait for its answer. Cached ones are computed by none.

The name is that of Go's golang.org/x/sync/singleflight; a lease in the store says who computes what.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice

from sqlinfer.inference.cancellation import POLL_S, StopSignal
from sqlinfer.inference.stage import Inference, NextStage, closing
from sqlinfer.store import Store
from sqlinfer.types import AnyRequest, Completion, ModelVersion

WINDOW = 512
"""Requests that are looked up in the store at a time."""
_MOST_DEFERRED = 8192
"""Requests that are held while others answer them: a bound on memory."""


def single_flight(
    generate: NextStage, inference: Inference, requests: Iterator[AnyRequest], cancel: StopSignal
) -> Iterator[Completion]:
    """Compute what is neither cached nor computed by another process, and cache each answer before it is handed on."""
    flight = SingleFlight(inference.job.runtime.store, inference.version, requests, cancel)
    with closing(flight.rounds()) as rounds:
        for leased in rounds:
            with closing(generate(leased, cancel)) as completions:
                for completion in completions:
                    flight.keep(completion)
                    yield completion


class SingleFlight:
    """The requests of one inference that this process computes. cancel: ends the waiting for other processes."""

    def __init__(self, store: Store, version: ModelVersion, requests: Iterator[AnyRequest], cancel: StopSignal) -> None:
        self._store = store
        self._version = version
        self._requests = requests
        self._cancel = cancel
        self._lease = store.lease()
        self._in_flight: set[bytes] = set()
        self._deferred: list[AnyRequest] = []
        self._is_checked = False

    def rounds(self) -> Generator[Iterator[AnyRequest]]:
        """The requests to compute; then those that others had leased and did not answer, until all have been answered.

        A round must be computed to its end before the next one: what is leased here waits for nobody.
        """
        try:
            while True:
                before = len(self._deferred)
                yield self._round()
                if not self._deferred or self._cancel.is_set():
                    return
                if before and len(self._deferred) >= before:
                    self._cancel.wait(POLL_S)
        finally:
            self._store.answers.flush()
            self._lease.release()

    def keep(self, completion: Completion) -> None:
        """Cache an answer. Raises ModelUnusable if the model's files have changed."""
        if not self._is_checked:  # the weights are read by now, and not before the first completion
            self._store.registry.check_unchanged(self._version)
            self._is_checked = True
        self._in_flight.discard(completion.request.key)
        if completion.output is not None:
            function = completion.request.route.function.name
            self._store.answers.put(completion, fingerprint=self._version.fingerprint, function=function)
        self._lease.touch()

    def _round(self) -> Iterator[AnyRequest]:
        deferred, self._deferred = self._deferred, []
        for at in range(0, len(deferred), WINDOW):
            yield from self._leased(deferred[at : at + WINDOW])
        while len(self._deferred) < _MOST_DEFERRED and (window := list(islice(self._requests, WINDOW))):
            yield from self._leased(window)

    def _leased(self, window: list[AnyRequest]) -> Iterator[AnyRequest]:
        """Those of a window that are computed here. Leased first: what is cached after that was so, or is ours."""
        keys = [request.key for request in window]
        self._store.answers.flush()
        theirs = self._lease.take(keys, self._in_flight)
        cached = self._store.answers.texts(keys)
        mine = []
        for request in window:
            if request.key in cached:
                continue
            if request.key in theirs:
                self._deferred.append(request)
            else:
                self._in_flight.add(request.key)
                mine.append(request)
        yield from mine
