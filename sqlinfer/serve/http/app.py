"""The web application: routes to endpoints, and errors to answers. Knows no sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sqlinfer.backends import backend_of
from sqlinfer.engine import TransformersEngine
from sqlinfer.inference.live_batch import LiveBatches
from sqlinfer.inference.runtime import Runtime
from sqlinfer.serve.http.embeddings import EmbeddingsCall
from sqlinfer.serve.http.errors import ApiError
from sqlinfer.serve.http.gate import Gate
from sqlinfer.serve.http.metrics import Metrics
from sqlinfer.serve.http.model_names import ServedModels, check_answers, describe
from sqlinfer.serve.http.submission import Submission
from sqlinfer.serve.http.writing import ChatCompletion, TextCompletion, Writing
from sqlinfer.types import AnyRequest, ModelVersion

CLIENT_CLOSED = 499
"""The status, to the metrics alone, of a call whose client has left, as nginx has it."""
Endpoint = Callable[[Request], Awaitable[Response]]


class Api:
    """OpenAI's API over the models of a runtime. gate: who may call. batches: where requests go."""

    def __init__(self, runtime: Runtime, gate: Gate, max_requests: int) -> None:
        self._runtime = runtime
        self._models = ServedModels(runtime)
        self._gate = gate
        self.batches = LiveBatches(self._open_engine, max_requests)
        self._metrics = Metrics(lambda: self.batches.num_requests)

    def app(self) -> Starlette:
        """The application."""
        routes = [
            Route("/health", self._health, methods=["GET"]),
            Route("/metrics", self._guarded(self._show_metrics), methods=["GET"]),
            Route("/v1/models", self._guarded(self._list_models), methods=["GET"]),
            Route("/v1/models/{name:path}", self._guarded(self._show_model), methods=["GET"]),
            Route("/v1/chat/completions", self._guarded(self._writes(ChatCompletion)), methods=["POST"]),
            Route("/v1/completions", self._guarded(self._writes(TextCompletion)), methods=["POST"]),
            Route("/v1/embeddings", self._guarded(self._embeds), methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _no_route, Exception: _unexpected})

    def _open_engine(self, version: ModelVersion) -> TransformersEngine:
        engine = self._runtime.open_engine(version)
        if not isinstance(engine, TransformersEngine):
            raise ApiError(400, f"model {version} does not run in this process, so its batch cannot be joined", "model")
        return engine

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        """An endpoint for those who may call, whose errors are answers."""

        async def call(request: Request) -> Response:
            try:
                self._gate.check_caller(request)
                response = await endpoint(request)
            except ApiError as error:
                response = error.response()
            except ClientDisconnect:
                response = Response(status_code=CLIENT_CLOSED)
            self._metrics.note_call(request.scope["route"].path, response.status_code)
            return response

        return call

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _show_metrics(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _list_models(self, _: Request) -> Response:
        names = await run_in_threadpool(self._models.names)
        return JSONResponse({"object": "list", "data": [describe(name) for name in names]})

    async def _show_model(self, request: Request) -> Response:
        name = request.path_params["name"]
        await run_in_threadpool(self._models.version, name)
        return JSONResponse(describe(name))

    def _writes(self, kind: type[Writing]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            body = await self._gate.read_body(request)
            call = await run_in_threadpool(kind, body)
            version = await self._version_for(call.fields["model"], call.requests)
            if call.is_streamed:
                return await self._stream(request, version, call)
            async with self._submitted(request, version, call.requests) as submission:
                return JSONResponse(call.answer(version, await submission.completions()))

        return endpoint

    async def _stream(self, request: Request, version: ModelVersion, call: Writing) -> Response:
        """An answer as server-sent events; an error before the first is the answer's status."""
        async with AsyncExitStack() as stack:
            submitted = self._submitted(request, version, call.requests, is_streamed=True)
            submission = await stack.enter_async_context(submitted)
            first = await submission.next_event()
            rest = stack.pop_all()

        async def lines() -> AsyncIterator[str]:
            async with rest:
                try:
                    async for chunk in call.chunks(version, submission.events(first)):
                        yield _event(chunk)
                except ApiError as error:
                    yield _event(error.body)
                except ClientDisconnect:
                    return
                yield "data: [DONE]\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    async def _embeds(self, request: Request) -> Response:
        call = EmbeddingsCall(await self._gate.read_body(request))
        version = await self._version_for(call.fields["model"], call.requests)
        call.check_width(backend_of(version).embedding_width(version))
        async with self._submitted(request, version, call.requests) as submission:
            return JSONResponse(call.answer(await submission.completions()))

    async def _version_for(self, name: str, requests: Sequence[AnyRequest]) -> ModelVersion:
        """The version behind a name, which can answer the requests; they are of one kind."""

        def find() -> ModelVersion:
            version = self._models.version(name)
            check_answers(version, requests[0])
            return version

        return await run_in_threadpool(find)

    @asynccontextmanager
    async def _submitted(
        self, request: Request, version: ModelVersion, requests: Sequence[AnyRequest], *, is_streamed: bool = False
    ) -> AsyncIterator[Submission]:
        """The requests of a call in the batch, until the call is answered or the client has left."""
        submission = Submission(self.batches, version, requests, metrics=self._metrics, is_streamed=is_streamed)
        watch = asyncio.create_task(_disconnected(request))
        watch.add_done_callback(lambda _: submission.cancel())
        try:
            yield submission
        finally:
            watch.cancel()
            submission.cancel()


def _event(body: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


async def _disconnected(request: Request) -> None:
    """Wait until the client has left, or has its answer."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _no_route(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return ApiError(status, f"{request.method} {request.url.path}: {getattr(error, 'detail', error)}").response()


async def _unexpected(_: Request, error: Exception) -> Response:
    return ApiError(500, f"{type(error).__name__}: {error}").response()
