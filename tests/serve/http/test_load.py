"""A server under load, and clients that leave: rows are freed, the queue is bounded, and both are counted."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from sqlinfer.inference.runtime import Runtime
from sqlinfer.serve.http.http_server import HttpLimits, HttpServer
from tests.serve.http.conftest import TINY

MESSAGES: Any = [{"role": "user", "content": "Write a review of a kettle: "}]
LONG: Any = {"model": TINY, "messages": MESSAGES, "max_tokens": 700, "extra_body": {"min_tokens": 700}}
SHORT: Any = {"model": TINY, "messages": MESSAGES, "max_tokens": 1}


@pytest.fixture
def server(runtime: Runtime) -> Iterator[HttpServer]:
    """A server whose queue takes two requests."""
    server = HttpServer(runtime, ("127.0.0.1", 0), "", HttpLimits(max_requests=2))
    server.start()
    yield server
    server.stop()


def client_of(server: HttpServer, **options: Any) -> OpenAI:
    return OpenAI(base_url=f"http://{server.address}/v1", api_key="none", **{"max_retries": 0, **options})


def metric(server: HttpServer, name: str) -> float:
    """The sum of a metric over its labels."""
    with urllib.request.urlopen(f"http://{server.address}/metrics") as response:
        lines = response.read().decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", lines, re.MULTILINE))


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it never was")


def test_a_client_that_leaves_frees_its_rows(server: HttpServer) -> None:
    with client_of(server) as client:
        stream = client.chat.completions.create(**LONG, stream=True)
        next(stream)
        assert metric(server, "sqlinfer_requests_unfinished") == 1
        stream.close()
        wait_until(lambda: metric(server, "sqlinfer_requests_unfinished") == 0)
        impatient = client.with_options(timeout=0.3)
        with pytest.raises(openai.APITimeoutError):
            impatient.chat.completions.create(**LONG)
        wait_until(lambda: metric(server, "sqlinfer_requests_unfinished") == 0)
    assert metric(server, 'sqlinfer_requests_total{finish_reason="cancelled",model="sqlinfer/tiny"}') == 2
    assert metric(server, "sqlinfer_completion_tokens_total") < 2 * 700


def test_a_full_queue_says_when_to_come_again(server: HttpServer) -> None:
    with client_of(server) as client:
        stream = client.chat.completions.create(**LONG, n=2, stream=True)
        next(stream)
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(**SHORT)
        assert float(refused.value.response.headers["retry-after"]) > 0
        assert refused.value.code == "queue_full"
        stream.close()
        patient = client.with_options(max_retries=20)
        assert patient.chat.completions.create(**SHORT).choices


def test_a_server_that_stops_tells_its_callers(server: HttpServer) -> None:
    errors: list[BaseException] = []

    def ask() -> None:
        with client_of(server) as client:
            try:
                client.chat.completions.create(**LONG)
            except openai.APIError as error:
                errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: metric(server, "sqlinfer_requests_unfinished") == 1)
    server.stop()
    thread.join()
    assert [getattr(error, "status_code", None) for error in errors] == [503]


def test_the_metrics_count_calls_tokens_and_times(server: HttpServer) -> None:
    with client_of(server) as client:
        usage = client.chat.completions.create(**SHORT).usage
        list(client.chat.completions.create(**{**LONG, "max_tokens": 20, "extra_body": {}}, stream=True))
    assert usage is not None
    assert metric(server, 'sqlinfer_http_calls_total{path="/v1/chat/completions",status="200"}') == 2
    assert metric(server, "sqlinfer_prompt_tokens_total") == 2 * usage.prompt_tokens
    assert metric(server, "sqlinfer_completion_tokens_total") > 1
    assert metric(server, "sqlinfer_request_seconds_count") == 2
    assert metric(server, "sqlinfer_time_to_first_piece_seconds_count") == 1
