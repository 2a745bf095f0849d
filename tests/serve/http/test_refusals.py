"""Calls that get no answer: who may not call, what is too much, and what cannot be had."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from sqlinfer.errors import SqlinferError
from sqlinfer.inference.runtime import Runtime
from sqlinfer.serve.http.http_server import HttpLimits, HttpServer
from tests.serve.http.conftest import EMBED, TINY

MESSAGES: Any = [{"role": "user", "content": "hi"}]
CHAT = {"model": TINY, "messages": MESSAGES, "max_tokens": 1}
Answer = tuple[int, dict[str, str], Any]


def call(address: str, body: Any, path: str = "/v1/chat/completions", **headers: str) -> Answer:
    """Status, headers and JSON of a call; a body that is no text is sent as JSON."""
    connection = http.client.HTTPConnection(address)
    sent = body if isinstance(body, str) else json.dumps(body)
    names = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET" if body is None else "POST", path, None if body is None else sent, names)
    response = connection.getresponse()
    answer = response.status, {name.lower(): value for name, value in response.getheaders()}, json.load(response)
    connection.close()
    return answer


@pytest.fixture(scope="module")
def small(runtime: Runtime) -> Iterator[str]:
    """A server with a token that takes little."""
    server = HttpServer(runtime, ("127.0.0.1", 0), "open sesame", HttpLimits(max_body_bytes=2000, max_requests=2))
    server.start()
    yield server.address
    server.stop()


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"model": "sqlinfer/tine"}, "model", "Did you mean sqlinfer/tiny"),
        ({"messages": []}, "messages", "a list of messages"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "messages", "role user"),
        ({"messages": [{"role": "tool", "content": "hi"}]}, "messages", "tool"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "type text"),
        ({"max_tokens": 0}, "max_tokens", "an integer from 1"),
        ({"max_tokens": True}, "max_tokens", "an integer from 1"),
        ({"temperature": "hot"}, "temperature", "a number from 0"),
        ({"top_p": 1.5}, "top_p", "a number from 0 to 1"),
        ({"seed": 2**70}, "seed", "an integer"),
        ({"n": 1000}, "n", "an integer from 1 to 128"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "needs stream"),
        ({"stream": True, "stream_options": {"usage": True}}, "stream_options", "include_usage"),
        ({"top_logprobs": 2}, "top_logprobs", "needs logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "from 0 to 20"),
        ({"stop": [1]}, "stop", "a text or a list of texts"),
        ({"tools": [{"type": "function"}]}, "tools", "not supported"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "not supported"),
        ({"temprature": 1}, "temprature", "Did you mean temperature"),
        ({"response_format": {"type": "xml"}}, "response_format", "json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "list"}}}},
            "response_format",
            "schema",
        ),
    ],
)
def test_a_field_that_is_wrong_is_named(address: str, fields: dict[str, Any], param: str, message: str) -> None:
    status, _, answer = call(address, {**CHAT, **fields})
    assert status == (404 if param == "model" else 400)
    assert answer["error"]["param"] == param
    assert message in answer["error"]["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"frequency_penalty": 0, "tools": [], "tool_choice": "auto", "store": False},
        {"user": "a", "stop": None},
        {"stop": [], "logprobs": False},
    ],
)
def test_a_field_that_asks_for_nothing_is_taken(address: str, fields: dict[str, Any]) -> None:
    assert call(address, {**CHAT, **fields})[0] == 200


@pytest.mark.parametrize("body", ["{", "[]", "[" * 100_000, "\x00"])
def test_a_body_that_is_no_json_object_is_refused(address: str, body: str) -> None:
    status, _, answer = call(address, body)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


def test_a_model_of_another_kind_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="model sqlinfer/tiny-embed "):
        client.chat.completions.create(model=EMBED, messages=MESSAGES)
    with pytest.raises(openai.BadRequestError, match="model sqlinfer/tiny "):
        client.embeddings.create(model=TINY, input="x")


def test_dimensions_are_those_of_the_model(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="dimensions is 64, and those of sqlinfer/tiny-embed are 192"):
        client.embeddings.create(model=EMBED, input="x", dimensions=64)
    assert len(client.embeddings.create(model=EMBED, input=["x", ""], dimensions=192).data) == 2


def test_a_model_that_cannot_be_loaded_costs_no_other_its_answers(
    client: OpenAI, runtime: Runtime, echo_folder: Path
) -> None:
    runtime.store.registry.register("broken", str(echo_folder))
    with pytest.raises(openai.InternalServerError, match="broken"):
        client.chat.completions.create(model="broken", messages=MESSAGES)
    assert client.chat.completions.create(**CHAT).choices


def test_a_model_behind_another_address_is_not_asked_through_this_one(client: OpenAI, runtime: Runtime) -> None:
    runtime.store.registry.register("far", "http://127.0.0.1:9/v1#m")
    with pytest.raises(openai.BadRequestError, match="far/1 does not run in this process"):
        client.chat.completions.create(model="far", messages=MESSAGES)


def test_a_prompt_that_is_too_long_is_refused_and_the_next_is_answered(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="tokens, and model sqlinfer/tiny reads"):
        client.completions.create(model=TINY, prompt=["good", "long " * 3000], max_tokens=1)
    assert client.completions.create(model=TINY, prompt="good", max_tokens=1).choices


@pytest.mark.parametrize("name", ["./models", "/etc", "someone/model", "../x@y"])
def test_no_path_and_no_hub_id_is_a_model(name: str, address: str) -> None:
    status, _, answer = call(address, {**CHAT, "model": name})
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert TINY in answer["error"]["message"]


def test_a_token_is_needed_where_there_is_one(small: str) -> None:
    assert call(small, None, "/health")[0] == 200
    for headers in ({}, {"Authorization": "Bearer guess"}, {"Authorization": "Basic open sesame"}):
        status, answered, answer = call(small, CHAT, **headers)
        assert (status, answered["www-authenticate"]) == (401, "Bearer")
        assert "sesame" not in json.dumps(answer)
    assert call(small, None, "/v1/models")[0] == 401
    with OpenAI(base_url=f"http://{small}/v1", api_key="open sesame") as client:
        assert client.chat.completions.create(**CHAT).choices


def test_a_server_that_others_can_reach_needs_a_token(runtime: Runtime) -> None:
    with pytest.raises(SqlinferError, match="needs a token"):
        HttpServer(runtime, ("0.0.0.0", 0), "", HttpLimits())


def test_a_web_page_cannot_call_a_server_without_a_token(address: str) -> None:
    assert call(address, CHAT, Host="evil.example")[0] == 403
    assert call(address, json.dumps(CHAT), Content_Type="text/plain")[0] == 415


def test_openais_client_learns_that_its_body_is_too_large(client: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.completions.create(model=TINY, prompt="x" * (30 << 20))
    assert refused.value.status_code == 413


def test_a_body_that_is_too_large_is_refused(small: str) -> None:
    headers = {"Authorization": "Bearer open sesame"}
    status, _, answer = call(small, {**CHAT, "messages": [{"role": "user", "content": "x" * 3000}]}, **headers)
    assert status == 413
    assert "2,000 bytes" in answer["error"]["message"]


def test_more_answers_than_the_queue_takes_are_refused(small: str) -> None:
    status, _, answer = call(small, {**CHAT, "n": 3}, Authorization="Bearer open sesame")
    assert status == 400
    assert "the most are 2" in answer["error"]["message"]


@pytest.mark.parametrize(("path", "status"), [("/v1/nothing", 404), ("/v1/embeddings", 405)])
def test_an_unknown_path_has_an_error_of_the_api(address: str, path: str, status: int) -> None:
    assert call(address, None, path)[0] == status
    assert "message" in call(address, None, path)[2]["error"]
