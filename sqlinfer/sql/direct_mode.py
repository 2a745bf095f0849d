"""What asks for calls that no phases come before: a plain DuckDB connection or a server gets them chunk by chunk."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from sqlinfer.inference.job import recorded
from sqlinfer.inference.keyed_request import Route
from sqlinfer.inference.request_queue import Failures, RequestQueue
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.udf.evaluator import CallEvaluator
from sqlinfer.types import AnyRequest, Completion, ModelVersion

Asked = Iterator[tuple[Route, AnyRequest]]


def engine_queue(runtime: Runtime) -> RequestQueue:
    """A queue whose runs are no jobs: what is asked counts against the budget as long as the queue lives."""
    asker = CallEvaluator(runtime)
    return RequestQueue(asker.infer, runtime.store.answers.texts, asker.cancel)


def recorded_queue(runtime: Runtime, label: str) -> RequestQueue:
    """A queue each of whose runs is a job: what calls brought to one model until nothing was left to ask. label: stands
    for the statement, which a server does not see."""
    stop = threading.Event()

    def infer(version: ModelVersion, asked: Asked, failures: Failures) -> Iterator[Completion]:
        asker, keys = CallEvaluator(runtime), list[bytes]()
        asker.cancel = stop

        def noted() -> Asked:
            for origin, request in asked:
                keys.append(request.key)
                yield origin, request

        with recorded(asker, f"{label}: {version}") as counts:
            try:
                yield from asker.infer(version, noted(), failures)
            finally:
                counts.seen(keys)
                counts.rows = len(keys)

    return RequestQueue(infer, runtime.store.answers.texts, stop)
