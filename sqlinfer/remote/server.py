"""A server that models lie on: the flow of requests to it, with a window, pauses and retries. Knows no prompts."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlinfer.config.remote_source import RemoteSource
from sqlinfer.errors import nearest
from sqlinfer.remote.exchange import Exchange, Reply, ServerError
from sqlinfer.remote.window import MOST, Pace, Window, exhausted_s

TIMEOUT_S = 300.0
"""Of one answer, where the setting timeout says nothing."""
_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 30.0
_BUSY_TRY = 0.2
"""As which a refusal for too much load counts while the server answers others: the load will pass. It counts at all, as
a request that is too much alone gets the same refusal."""
_LONG_PAUSE_S = 10.0
_UNREACHED_RETRIES = {"unreachable": 3, "unresolved": 0}
"""Of a server that never answered: its address or name may be wrong."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flow:
    """How one job asks a server; None is no bound."""

    key: str
    max_retries: int
    timeout_s: float = TIMEOUT_S
    max_in_flight: int | None = None
    requests_a_minute: int | None = None
    tokens_a_minute: int | None = None

    def __repr__(self) -> str:
        return f"Flow(max_retries={self.max_retries}, timeout_s={self.timeout_s:g})"  # the key is nobody's to read


class ModelServer:
    """One server, for all models on it and all threads of this process; its coroutines belong to the loop."""

    def __init__(self, source: RemoteSource) -> None:
        self._source = source
        self._exchange = Exchange(source)
        self._window = Window()
        self._pace = Pace()
        self._in_flight = self._num_pausing = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._num_answers = 0
        self._models: dict[str, dict[str, Any]] | None = None

    def room(self, flow: Flow) -> int:
        """How many requests to have at hand: those in flight, and those that pause before they are tried again. No
        others: a job that stops at its budget has paid for what is in flight and no more."""
        return self._most(flow) + self._num_pausing

    async def ask(self, path: str, body: Mapping[str, Any], flow: Flow, tokens: int) -> Reply:
        """The answer to a request; what may pass is tried again. tokens: an estimate of what it uses. Raises
        ServerError."""
        num_failures, tries, num_answers = 0, 0.0, self._num_answers
        while True:
            try:
                return await self._try(path, body, flow, tokens)
            except ServerError as error:
                num_failures += 1
                is_busy_with_others = error.kind == "busy" and self._num_answers > num_answers
                tries += _BUSY_TRY if is_busy_with_others else 1
                num_answers = self._num_answers
                most = flow.max_retries
                if not self._num_answers:
                    most = min(most, _UNREACHED_RETRIES.get(error.kind, most))
                if error.status == 404:
                    hint = await self.models_hint(str(body["model"]), flow)
                    raise ServerError(with_hint(str(error), hint), error.kind, error.status) from error
                if error.kind in ("refused", "unusable") or tries > most:
                    raise
                pause_s = min(_BACKOFF_S * 2 ** (num_failures - 1), _LONGEST_BACKOFF_S) * random.uniform(0.75, 1.25)
                if error.retry_after_s is not None:
                    pause_s = error.retry_after_s
                    self._pace.pause(time.monotonic() + pause_s)
                _log.log(_log_level(pause_s), "a request is sent again in %.1f s: %s", pause_s, error)
                self._num_pausing += 1
                try:
                    await asyncio.sleep(pause_s)
                finally:
                    self._num_pausing -= 1

    async def models_hint(self, model: str, flow: Flow) -> str:
        """The models of the server that are named like one that it does not know; "" if it knows it."""
        models = await self.models(flow)
        hint = f"Its base URL here is {self._source.url}; most end in /v1"
        return "" if model in models else nearest(model, models) or hint

    async def models(self, flow: Flow) -> Mapping[str, dict[str, Any]]:
        """What the server says of its models, by name; empty if it does not say."""
        if self._models is None:
            try:
                listed = (await self._exchange.get("models", flow.key, min(flow.timeout_s, 30.0))).content.get("data")
            except ServerError:
                listed = []
            models = [model for model in listed if isinstance(model, dict)] if isinstance(listed, list) else []
            self._models = {str(model.get("id")): model for model in models}
        return self._models

    async def _try(self, path: str, body: Mapping[str, Any], flow: Flow, tokens: int) -> Reply:
        async with self._place(flow, tokens):
            sent_s = time.monotonic()
            try:
                reply = await self._exchange.post(path, body, flow.key, flow.timeout_s)
            except ServerError as error:
                if error.kind == "busy":
                    self._window.note_congestion(sent_s, time.monotonic())
                self._num_answers += error.status != 0 and error.kind != "busy"
                raise
            now_s = time.monotonic()
            self._num_answers += 1
            self._window.note_answer(sent_s, now_s, self._in_flight)
            if wait_s := exhausted_s(reply.headers):
                self._pace.pause(now_s + wait_s)
            used = reply.content.get("usage")
            total = used.get("total_tokens") if isinstance(used, dict) else None
            if isinstance(total, int):
                self._pace.correct_tokens(min(max(total, 0), 100 * tokens) - tokens, flow.tokens_a_minute)
            return reply

    @asynccontextmanager
    async def _place(self, flow: Flow, tokens: int) -> AsyncIterator[None]:
        """A place in the window, at a time when the server may be asked."""
        while self._in_flight >= self._most(flow):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake(flow)  # it may have been this one's turn
                raise
        self._in_flight += 1
        try:
            await self._wait_for_pace(flow, tokens)
            yield
        finally:
            self._in_flight -= 1
            self._wake(flow)

    async def _wait_for_pace(self, flow: Flow, tokens: int) -> None:
        start_s = self._pace.reserve(time.monotonic(), tokens, flow.requests_a_minute, flow.tokens_a_minute)
        while (wait_s := max(start_s, self._pace.paused_until_s) - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)

    def _wake(self, flow: Flow) -> None:
        """Let those that wait look again, as many as there is room for."""
        for _ in range(max(0, self._most(flow) - self._in_flight)):
            if not self._waiting:
                return
            turn = self._waiting.popleft()
            if not turn.done():  # cancelled
                turn.set_result(None)

    def _most(self, flow: Flow) -> int:
        return max(1, min(int(self._window.size), flow.max_in_flight or MOST))


def with_hint(message: str, hint: str) -> str:
    """A server's message and a hint, unless the server has given it."""
    return message if not hint or hint.rstrip(".") in message else f"{message.rstrip('.')}. {hint}"


def _log_level(pause_s: float) -> int:
    """A pause that people notice is one to know about."""
    return logging.WARNING if pause_s >= _LONG_PAUSE_S else logging.INFO


_servers: dict[tuple[int, str, str], ModelServer] = {}
_lock = threading.Lock()


def server_of(source: RemoteSource) -> ModelServer:
    """The process's server at an address."""
    with _lock:
        return _servers.setdefault((os.getpid(), source.url, source.preset.name), ModelServer(source))
