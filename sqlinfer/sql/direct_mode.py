"""Queues for calls that no phases come before: a plain DuckDB connection or a server brings them chunk by chunk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

from sqlinfer.errors import Interrupted
from sqlinfer.inference.job import Job
from sqlinfer.inference.pipeline import infer
from sqlinfer.inference.request_queue import RequestQueue
from sqlinfer.inference.runner import JobRunner
from sqlinfer.inference.runtime import Runtime
from sqlinfer.types import AnyRequest, Completion, ModelVersion
from sqlinfer.units import count


class _Abandoned(Interrupted):
    """Calls of a run that has come to its end were cancelled."""


def engine_queue(runtime: Runtime) -> RequestQueue:
    """A queue without a record: what it computes counts against the budget as long as it lives."""
    job = Job(runtime, threading.Event())
    return RequestQueue(
        lambda version, requests: infer(requests, job, version, {}), runtime.store.answers.texts, job.cancel
    )


def recorded_queue(runtime: Runtime, label: str) -> RequestQueue:
    """A queue each of whose runs is a job: what calls brought to one model until nothing was left. label: stands for
    the statement, which a server does not see."""
    stop = threading.Event()

    def run(version: ModelVersion, requests: Iterator[AnyRequest]) -> Iterator[Completion]:
        def counted(job: Job) -> Iterator[AnyRequest]:
            for request in requests:
                job.counts.count_requests([request])
                job.counts.count_rows(1)
                yield request

        with suppress(_Abandoned), JobRunner(runtime, stop).record(f"{label}: {version}") as job:
            yield from infer(counted(job), job, version, {})
            if num_cancelled := queue.take_cancelled(version):
                raise _Abandoned(f"{count(num_cancelled, 'request')} cancelled: the clients stopped waiting")

    queue = RequestQueue(run, runtime.store.answers.texts, stop)
    return queue
