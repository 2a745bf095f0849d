"""The requests of one call in the running batch, from the side of asyncio: its events come from the batch's thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect

from sqlinfer.errors import Interrupted
from sqlinfer.inference.live_batch import LiveBatches, QueueFull
from sqlinfer.serve.http.errors import ApiError
from sqlinfer.serve.http.metrics import Metrics
from sqlinfer.types import AnyRequest, Completion, Generate, ModelVersion, Piece

Event = tuple[int, Piece | Completion]
"""What comes of a request, with its position in the call: pieces, if it is streamed, and at last its completion."""


class Submission:
    """Submits requests. Raises ApiError if the queue is full. is_streamed: whether pieces come."""

    def __init__(
        self,
        batches: LiveBatches,
        version: ModelVersion,
        requests: Sequence[AnyRequest],
        *,
        metrics: Metrics,
        is_streamed: bool = False,
    ) -> None:
        self._version = version
        self._metrics = metrics
        self._is_streamed = is_streamed
        self._start_s = time.monotonic()
        self._begun: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()
        self._num_unfinished = len(requests)
        self._is_cancelled = False
        if len(requests) > batches.max_requests:
            raise ApiError(400, f"{len(requests):,} answers in one call; the most are {batches.max_requests:,}")
        try:
            batches.submit(version, [self._bound(request, index) for index, request in enumerate(requests)])
        except QueueFull as error:
            raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, str(error), code="queue_full") from None

    def cancel(self) -> None:
        """Say that nobody waits any more: what is unfinished leaves the batch at its next step."""
        self._is_cancelled = True

    async def next_event(self) -> Event:
        """What comes next. Raises ApiError for a request that failed, and ClientDisconnect for a cancelled one."""
        index, event = await self._events.get()
        if isinstance(event, BaseException):
            status = HTTPStatus.SERVICE_UNAVAILABLE if isinstance(event, Interrupted) else 500
            raise ApiError(status, str(event) or type(event).__name__)
        if isinstance(event, Completion):
            self._num_unfinished -= 1
            if event.is_cancelled:
                raise ClientDisconnect
            if event.error is not None:
                raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE if event.is_retryable else 400, event.error)
        return index, event

    async def events(self, first: Event | None = None) -> AsyncIterator[Event]:
        """All that comes until every request has its completion. first: what came before. Raises as next_event does."""
        if first is not None:
            yield first
        while self._num_unfinished:
            yield await self.next_event()

    async def completions(self) -> list[Completion]:
        """The completions, in the order of the requests."""
        completions = {index: event async for index, event in self.events() if isinstance(event, Completion)}
        return [completions[index] for index in range(len(completions))]

    def _bound(self, request: AnyRequest, index: int) -> AnyRequest:
        put = partial(self._put, index)
        if self._is_streamed and isinstance(request, Generate):
            request = replace(request, on_piece=put)
        return replace(request, route=put, is_cancelled=lambda: self._is_cancelled)

    def _put(self, index: int, event: Any) -> None:
        if isinstance(event, Completion):
            self._metrics.note_completion(self._version, event, self._start_s)
        elif isinstance(event, Piece) and index not in self._begun:
            self._begun.add(index)
            self._metrics.note_first_piece(self._version, self._start_s)
        with suppress(RuntimeError):  # the server has ended
            self._loop.call_soon_threadsafe(self._events.put_nowait, (index, event))
