"""Answers that are sent while they are written are the same answers."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.serve.http.conftest import TINY

REVIEW = "Write a review of a kettle: "
LONG: Any = {"max_tokens": 80, "extra_body": {"min_tokens": 80}}


def streamed(client: OpenAI, text: str, **options: Any) -> list[Any]:
    messages: Any = [{"role": "user", "content": text}]
    return list(client.chat.completions.create(model=TINY, messages=messages, stream=True, **options))


def answered(client: OpenAI, text: str, **options: Any) -> Any:
    return client.chat.completions.create(model=TINY, messages=[{"role": "user", "content": text}], **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        LONG,
        {"n": 3, "temperature": 2.0, "seed": 1, "max_tokens": 40},
        {"stop": ["s", "the"], "max_tokens": 40},
        {"response_format": {"type": "json_object"}, "max_tokens": 60},
    ],
    ids=["short", "long", "choices", "stop", "schema"],
)
def test_the_pieces_of_an_answer_are_the_answer(client: OpenAI, options: dict[str, Any]) -> None:
    chunks, written, reasons = streamed(client, REVIEW, **options), defaultdict(str), {}
    for chunk in chunks:
        for choice in chunk.choices:
            written[choice.index] += choice.delta.content
            reasons[choice.index] = choice.finish_reason
    choices = answered(client, REVIEW, **options).choices
    assert [written[i] for i in range(len(written))] == [choice.message.content for choice in choices]
    assert [reasons[i] for i in range(len(reasons))] == [choice.finish_reason for choice in choices]


def test_a_long_answer_comes_in_pieces_and_its_usage_last(client: OpenAI) -> None:
    chunks = streamed(client, REVIEW, stream_options={"include_usage": True}, **LONG)
    assert len(chunks) > 3
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].choices[0].delta.content
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].usage.completion_tokens == 80


def test_prompts_are_streamed_side_by_side(client: OpenAI) -> None:
    prompts, written = ["The kettle", "The lamp"], ["", ""]
    for chunk in client.completions.create(model=TINY, prompt=prompts, stream=True, max_tokens=30):
        written[chunk.choices[0].index] += chunk.choices[0].text
    assert written == [c.text for c in client.completions.create(model=TINY, prompt=prompts, max_tokens=30).choices]


def test_a_later_call_joins_the_running_batch(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": REVIEW}]
    options: Any = {"max_tokens": 150, "extra_body": {"min_tokens": 150}}
    stream = client.chat.completions.create(model=TINY, messages=messages, stream=True, **options)
    first = next(stream)
    assert first.choices[0].finish_reason is None
    ended = threading.Event()

    def drain() -> None:
        for _ in stream:
            pass
        ended.set()

    thread = threading.Thread(target=drain)
    thread.start()
    answered(client, "Summarize: The lamp is small.", max_tokens=1)
    assert not ended.is_set()
    thread.join()


def test_an_error_before_the_first_piece_is_a_status(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="tokens, and model sqlinfer/tiny reads"):
        streamed(client, "long " * 3000)


def test_log_probabilities_are_of_the_tokens_of_the_answer(client: OpenAI) -> None:
    whole = answered(client, REVIEW, logprobs=True, top_logprobs=2, max_tokens=30).choices[0]
    tokens = whole.logprobs.content
    assert "".join(token.token for token in tokens) == whole.message.content
    for token in tokens:  # greedy: the likeliest
        assert token.logprob == token.top_logprobs[0].logprob <= 0
        assert token.token == token.top_logprobs[0].token
        assert token.top_logprobs[1].logprob <= token.logprob
    chunks = streamed(client, REVIEW, logprobs=True, top_logprobs=2, max_tokens=30)
    assert [token for chunk in chunks for token in chunk.choices[0].logprobs.content] == tokens
    old = client.completions.create(model=TINY, prompt="The kettle", logprobs=1, max_tokens=5).choices[0]
    assert "".join(old.logprobs.tokens) == old.text


def test_log_probabilities_beside_a_schema_are_refused_by_name(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        answered(client, REVIEW, logprobs=True, response_format={"type": "json_object"})
    assert refused.value.param == "logprobs"


def test_a_request_without_log_probabilities_has_none(client: OpenAI) -> None:
    assert answered(client, REVIEW, max_tokens=1).choices[0].logprobs is None
