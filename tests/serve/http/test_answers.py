"""What the API answers is what the engine writes for the same prompt."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openai import OpenAI

from sqlinfer.backends import open_engine
from sqlinfer.engine import BUILTINS
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.connect import connect
from sqlinfer.types import Parameters, Request
from tests.serve.http.conftest import EMBED, TINY

REVIEW = "Summarize: The kettle broke after two days, and nobody answered."


def chat(client: OpenAI, text: str, **options: Any) -> Any:
    return client.chat.completions.create(model=TINY, messages=[{"role": "user", "content": text}], **options)


def written(client: OpenAI, text: str, **options: Any) -> list[str]:
    return [str(choice.message.content) for choice in chat(client, text, **options).choices]


def test_answers_are_those_of_sql(client: OpenAI) -> None:
    with connect() as con:
        prompt = REVIEW.replace("'", "''")
        ((text, vector),) = con.sql(f"SELECT ai_gen('{prompt}'), ai_embed('{prompt}')").fetchall()
    assert written(client, REVIEW) == [text]
    floats = client.embeddings.create(model=EMBED, input=REVIEW, encoding_format="float")
    packed = client.embeddings.create(model=EMBED, input=["other", REVIEW])  # the client asks for base64
    assert floats.data[0].embedding == pytest.approx(list(vector), abs=1e-6)
    assert packed.data[1].embedding == pytest.approx(list(vector), abs=1e-6)
    assert floats.usage.prompt_tokens > 0


def test_a_chat_of_several_turns_is_rendered_by_the_models_template(client: OpenAI, runtime: Runtime) -> None:
    messages: Any = [
        {"role": "developer", "content": "Answer in one word."},
        {"role": "user", "content": [{"type": "text", "text": "Was it "}, {"type": "text", "text": "late?"}]},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": REVIEW},
    ]
    answer = client.chat.completions.create(model=TINY, messages=messages, max_tokens=9)
    turns = (("system", "Answer in one word."), ("user", "Was it late?"), ("assistant", "yes"))
    request = Request(REVIEW, turns=turns, parameters=Parameters(max_tokens=9))
    (completion,) = open_engine(runtime.store.registry.get(TINY)).generate([request])
    assert answer.choices[0].message.content == completion.output
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == completion.prompt_tokens
    assert answer.usage.total_tokens == completion.prompt_tokens + completion.completion_tokens


def test_prompts_of_one_call_are_answered_in_their_order(client: OpenAI) -> None:
    prompts = [f"The {thing} was" for thing in ("kettle", "phone", "lamp", "chair")]
    together = client.completions.create(model=TINY, prompt=prompts, max_tokens=8)
    alone = [client.completions.create(model=TINY, prompt=prompt, max_tokens=8).choices[0].text for prompt in prompts]
    assert [choice.text for choice in together.choices] == alone
    assert [choice.index for choice in together.choices] == [0, 1, 2, 3]


def test_64_clients_at_once_get_the_answers_of_one(client: OpenAI) -> None:
    prompts = [f"Summarize: The {i % 8}th kettle broke." for i in range(64)]
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda prompt: written(client, prompt, max_tokens=5), prompts))
    assert answers == [written(client, prompt, max_tokens=5) for prompt in prompts[:8]] * 8


def test_a_seed_fixes_a_sample_and_choices_differ(client: OpenAI) -> None:
    first = written(client, REVIEW, n=4, seed=7, temperature=1.5, top_p=0.95, max_tokens=12)
    assert first == written(client, REVIEW, n=4, seed=7, temperature=1.5, top_p=0.95, max_tokens=12)
    assert len(set(first)) > 1
    assert first[1] == written(client, REVIEW, seed=8, temperature=1.5, top_p=0.95, max_tokens=12)[0]


def test_samples_without_a_seed_differ_from_call_to_call(client: OpenAI) -> None:
    samples = [tuple(written(client, REVIEW, n=4, temperature=1.5, max_tokens=12)) for _ in range(2)]
    assert samples[0] != samples[1]


def test_a_stop_text_ends_an_answer_and_max_tokens_cuts_it(client: OpenAI) -> None:
    (whole,) = written(client, REVIEW)
    stop = whole[6:9]
    stopped = chat(client, REVIEW, stop=stop).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == (whole[: whole.index(stop)], "stop")
    cut = chat(client, REVIEW, max_completion_tokens=2)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 2)


def test_an_answer_satisfies_its_schema(client: OpenAI) -> None:
    late = {"type": "boolean"}
    schema = {"type": "object", "properties": {"late": late}, "required": ["late"], "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    (answer,) = written(client, REVIEW, response_format=wanted)
    assert answer in ('{"late": true}', '{"late": false}')


def test_models_are_listed_and_shown(client: OpenAI) -> None:
    names: Sequence[str] = [model.id for model in client.models.list()]
    assert set(BUILTINS) <= set(names)
    assert client.models.retrieve(TINY).id == TINY
