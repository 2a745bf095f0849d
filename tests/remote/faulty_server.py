"""A server of an OpenAI-shaped API that answers, and fails in every way that servers do."""

from __future__ import annotations

import json
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
Fault = Callable[["Handler", Body], None]


def completion(text: str | None, reason: str = "stop", **message: Any) -> Body:
    """The body of an answer."""
    return {
        "choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": reason}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def echo(body: Body) -> Body:
    """Answers with the last line of the prompt; a choice that stands in it, or JSON of the schema's form."""
    if "input" in body:
        data = [{"index": i, "embedding": [float(len(text)), 1.0, 2.0]} for i, text in enumerate(body["input"])]
        return {"data": data[::-1], "usage": {"prompt_tokens": 3 * len(data), "total_tokens": 3 * len(data)}}
    prompt = body["messages"][0]["content"]
    if "response_format" not in body:
        return completion(f"<{prompt.splitlines()[-1]}>")
    parts = body["response_format"]["json_schema"]["schema"]["properties"]
    text = prompt.split("\n\n")[1] if "\n\n" in prompt else prompt
    return completion(json.dumps({name: value_of(part, text) for name, part in parts.items()}))


def value_of(part: Body, text: str) -> Any:
    if "enum" in part:
        return next((choice for choice in part["enum"] if choice and choice in text), part["enum"][-1])
    return len(text) if "integer" in part.get("type", ()) else text


@dataclass
class FaultyServer:
    """What a test sets, and what it sees."""

    url: str = ""
    answer: Callable[[Body], Body] = echo
    faults: tuple[Fault, ...] = ()
    share: float = 1.0
    """Of requests that fail, by one of the faults; each request by its own."""
    refuses: dict[str, str] = field(default_factory=dict)
    """Messages of status 400 by the parameter that must not be there."""
    models: tuple[Body, ...] = ()
    bodies: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    """Good answers, by the prompt."""
    most_in_flight: int = 0
    in_flight: int = 0
    random: random.Random = field(default_factory=lambda: random.Random(7))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.bodies]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    @property
    def state(self) -> FaultyServer:
        return self.server.state

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send(200, {"data": list(self.state.models)})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        state = self.state
        with state.lock:
            state.bodies.append(body)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            state.in_flight += 1
            state.most_in_flight = max(state.most_in_flight, state.in_flight)
            fault = state.random.choice(state.faults) if state.faults and state.random.random() < state.share else None
        try:
            refused = next((message for name, message in state.refuses.items() if name in json.dumps(body)), None)
            if refused is not None:
                self.send(400, {"error": {"message": refused}})
            elif fault is not None:
                fault(self, body)
            else:
                answer = state.answer(body)
                with state.lock:
                    state.answered[json.dumps(body.get("input") or body["messages"][0]["content"])] += 1
                self.send(200, answer)
        finally:
            with state.lock:
                state.in_flight -= 1

    def send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def status(code: int, message: str = "no", **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.send(code, {"error": {"message": message}}, named)


def reset(handler: Handler, _: Body) -> None:
    """Half of the answer, then the end of the connection."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def truncated(handler: Handler, body: Body) -> None:
    handler.send(200, json.dumps(handler.state.answer(body)).encode()[:-20])


def html(handler: Handler, _: Body) -> None:
    handler.send(200, b"<html>Bad gateway</html>", {"content-type": "text/html"})


def null_content(handler: Handler, _: Body) -> None:
    handler.send(200, completion(None))


def error_with_200(handler: Handler, _: Body) -> None:
    handler.send(200, {"error": {"message": "overloaded", "code": 503}})


def stall(seconds: float) -> Fault:
    def stalls(handler: Handler, _: Body) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return stalls


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[FaultyServer]:
    server = Listening(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.state = FaultyServer(f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/v1")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server.state
    finally:
        server.shutdown()
        server.server_close()


class Listening(ThreadingHTTPServer):
    state: FaultyServer
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that did not wait for its answer."""
