"""What the server counts, as Prometheus reads it. Knows no endpoints."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sqlinfer.types import Completion, ModelVersion

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """The numbers of one server. num_requests: that wait or run at the moment."""

    def __init__(self, num_requests: Callable[[], float]) -> None:
        registry = self._registry = CollectorRegistry()
        self._calls = Counter("sqlinfer_http_calls", "Calls answered", ["path", "status"], registry=registry)
        self._requests = Counter("sqlinfer_requests", "Requests ended", ["model", "finish_reason"], registry=registry)
        self._read = Counter("sqlinfer_prompt_tokens", "Tokens of prompts", ["model"], registry=registry)
        self._written = Counter("sqlinfer_completion_tokens", "Tokens written", ["model"], registry=registry)
        self._first = Histogram(
            "sqlinfer_time_to_first_piece_seconds",
            "From a streamed request's arrival to the first piece of its answer",
            ["model"],
            registry=registry,
            buckets=_SECONDS,
        )
        self._whole = Histogram(
            "sqlinfer_request_seconds",
            "From a request's arrival to its completion",
            ["model"],
            registry=registry,
            buckets=_SECONDS,
        )
        running = Gauge("sqlinfer_requests_unfinished", "Requests that wait or run", registry=registry)
        running.set_function(num_requests)

    def text(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self._registry)

    def note_call(self, path: str, status: int) -> None:
        """Count a call. path: of its endpoint."""
        self._calls.labels(path, status).inc()

    def note_first_piece(self, version: ModelVersion, start_s: float) -> None:
        """Count the first piece of an answer. start_s: time.monotonic() at its arrival."""
        self._first.labels(str(version)).observe(time.monotonic() - start_s)

    def note_completion(self, version: ModelVersion, completion: Completion, start_s: float) -> None:
        """Count a request that ended, in whatever way."""
        model = str(version)
        self._requests.labels(model, completion.finish_reason).inc()
        self._read.labels(model).inc(completion.prompt_tokens)
        self._written.labels(model).inc(completion.completion_tokens)
        self._whole.labels(model).observe(time.monotonic() - start_s)
