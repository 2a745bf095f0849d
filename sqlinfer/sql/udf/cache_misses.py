"""What happens to requests that the cache has no answer for: a probe records them, a statement that runs computes them.

Knows no rows and no columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sqlinfer.inference.cancellation import StopSignal
from sqlinfer.inference.failures import Failure, Failures
from sqlinfer.inference.keyed_request import KeyedRequest
from sqlinfer.inference.pipeline import infer
from sqlinfer.inference.request_queue import RequestQueue
from sqlinfer.inference.runner import JobRunner
from sqlinfer.types import AnyRequest


class OnMiss:
    """A way to handle requests without an answer."""

    is_computing: ClassVar[bool] = False
    """Whether each of them has an answer or a failure afterwards; else their calls are NULL for now."""
    is_by_statement: ClassVar[bool] = True
    """Whether calls come statement by statement; else each chunk is on its own."""

    def handle(self, requests: Sequence[KeyedRequest], failures: Failures, /) -> None:
        """Handle distinct requests; those that fail go to failures."""
        raise NotImplementedError

    def refuse(self, key: bytes, failure: Failure, /) -> None:
        """Take note of a row without a request, if they are not computed: a NULL in place of an answer may be why."""


class Null(OnMiss):
    """Leaves them."""

    def handle(self, _: Sequence[KeyedRequest], __: Failures, /) -> None:
        """Do nothing."""


class Compute(OnMiss):
    """Computes them at once, in the job of a runner."""

    is_computing = True

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner

    def handle(self, requests: Sequence[KeyedRequest], failures: Failures, /) -> None:
        """Compute them, model by model."""
        job = self._runner.job
        by_model: dict[str, list[AnyRequest]] = {}
        for request in requests:
            by_model.setdefault(request.route.version.fingerprint, []).append(request.request)
        with job.inference():
            for batch in by_model.values():
                for _ in infer(iter(batch), job, batch[0].route.version, failures):
                    pass


class Queue(OnMiss):
    """Lets a queue compute them, with those of other calls at the same time."""

    is_computing = True
    is_by_statement = False

    def __init__(self, queue: RequestQueue, cancel: StopSignal) -> None:
        self._queue = queue
        self._cancel = cancel

    def handle(self, requests: Sequence[KeyedRequest], failures: Failures, /) -> None:
        """Wait until each has ended."""
        failures |= self._queue.compute(requests, self._cancel)
