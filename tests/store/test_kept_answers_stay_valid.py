"""Answers that earlier versions kept are found under the same keys and say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqlinfer.functions import load_functions
from sqlinfer.functions.answer_hashes import ANSWER_HASHES
from sqlinfer.store import AnswerKeys
from sqlinfer.store.outputs import decode, encode
from sqlinfer.types import (
    AnyRequest,
    AnyValue,
    Choose,
    Classify,
    Count,
    CountTokens,
    Cuts,
    Embed,
    Embedding,
    Generate,
    Json,
    ModelVersion,
    Output,
    Parameters,
    Predict,
    Probabilities,
    SplitText,
    Text,
    TextOrBlob,
)

PARAMETERS = Parameters(max_tokens=7)
KEYS = (
    (Generate("t", "i", parameters=PARAMETERS), "274f5601966c1d833cb97d03435bbe37"),
    (Generate("t", "i", "summarize", "truncate", parameters=PARAMETERS), "492a0ccd93ce3f388ed04aa27742e1fb"),
    (Generate("t", "i", schema='{"type": "object"}', parameters=PARAMETERS), "b53ee3d0f1312f61dee4279ce5614b83"),
    (Generate('{"a": 1}', reorder=True), "4d8c637ca3a1e2e85dc5d2421311bfa6"),
    (SplitText("t", "i", "summarize", "s", parameters=PARAMETERS), "f5954d403bb0eab4f459aa386dd913dd"),
    (Choose("t", ("yes", "no"), "i", "q", "truncate", parameters=PARAMETERS), "1c1ccda3dc664b19be56d217e35db8bf"),
    (Choose("t", ("a",)), "4e02ff4338d8f2adac2db1d494f115e7"),
    (Embed("t", "truncate", parameters=PARAMETERS), "b3a1a672643fb13ca18c0bfc5478b06d"),
    (Embed("t"), "98c5ceb82a8ddcae20ac06497e521b4f"),
    (Classify("t", "truncate"), "3c16ff33ee93f0cceb3886f47d44ddc0"),
    (CountTokens("t"), "1d90d22736c66f6522384d95dd51c708"),
)
CALLS: tuple[tuple[str, dict[str, Any], list[str]], ...] = (
    ("ai_agg", {"texts": ["a", "b"], "instruction": "i"}, ["bdf7d1603d664bcd86eb5092cb57dc88"]),
    ("ai_agg", {"texts": ["a", "b"], "instruction": "i", "overflow": "error"}, ["9ddc3169da191fd25adba587eaa65bb9"]),
    ("ai_classify", {"text": "t", "labels": ["a", "b"]}, ["64365e960bb0c6c8a3a44a738fbf0f0e"]),
    (
        "ai_classify",
        {"text": "t", "labels": ["a", "b"], "multilabel": True, "calibrate": True},
        ["1c0298032788fbc78712fa7523d13a69", "7ae741c59accbefda1873b6c8d0213ea"],
    ),
    ("ai_complete", {"model": "m", "prompt": "t"}, ["fa1d0551b1d4902c4fc9853e7e69ffd3"]),
    ("ai_count_tokens", {"text": "t"}, ["83b46631429eea970c2e45b1bdf119bd"]),
    ("ai_embed", {"text": TextOrBlob("\nt")}, ["605ebfe2c858fbce94a2104f3d1f71b7"]),
    ("ai_extract", {"text": "t", "fields": ["a"]}, ["e26dd17319a620568ff4c3329971696f"]),
    ("ai_extract", {"text": "t", "fields": ["a"], "overflow": "hierarchical"}, ["750480c4ce2659e4532507648b20c4b0"]),
    ("ai_filter", {"text": "t", "condition": "c"}, ["eead6e78d10af2b6175d682854f464e9"]),
    ("ai_fix_grammar", {"text": "t"}, ["0c1eb2d519e9cf1d07a0ffbf95d6848e"]),
    ("ai_gen", {"prompt": "t"}, ["3a7bae7b62a4da4d40ad81932a3674fa"]),
    ("ai_mask", {"text": "t", "labels": ["a"]}, ["7d756a228afbf0a03dcb4ebfe51ff9e5"]),
    ("ai_predict", {"model": "m", "input": AnyValue("VARCHAR\nt")}, ["37f41e7090fd7cca3c80704bcc3798e6"]),
    ("ai_query", {"model": "m", "request": "t"}, ["214c90e7116b3eafa499c16d76824eff"]),
    ("ai_query", {"model": "m", "request": "t", "returnType": "INTEGER"}, ["b5a100a406dbb60cc028322ce78befa2"]),
    ("ai_score", {"text": "t", "criterion": "c"}, ["aa8ea54563ee74b539e9ddf01ec4a2a4"]),
    ("ai_sentiment", {"text": "t"}, ["6f25d8f68f9d87acf901e512edee5e29"]),
    ("ai_similarity", {"a": "t", "b": "u"}, ["f1a19b71c453ce7290da17b365cb3cd6", "6487485d35657ab169f3291483e917d9"]),
    ("ai_summarize_agg", {"texts": ["a", "b"]}, ["b6088656c19f9e5762289c66af4ba8a7"]),
    ("ai_translate", {"text": "t", "to": "German"}, ["3aa206df942156e078389962c370f240"]),
    ("summarize", {"text": "t"}, ["ebb9e79c4240dc6f143b652512ef1496"]),
    ("summarize", {"text": "t", "overflow": "hierarchical", "details": True}, ["5da110b8316448ecf3d948b01b1c0aa7"]),
)
TEXTS: tuple[tuple[str, Output], ...] = (
    ("any \ud800 text", Text("any \ud800 text")),
    ("12", Count(12)),
    ("[]", Cuts()),
    ("[7, 9]", Cuts((7, 9))),
    ('{"\u6771\u4eac": 0.25, "no": 1e-09}', Probabilities({"\u6771\u4eac": 0.25, "no": 1e-9})),
    ('{"a": null}', Json('{"a": null}')),
    ("AACAPwAAAL8=", Embedding([1.0, -0.5])),
)


@pytest.mark.parametrize(("request_", "key"), KEYS)
def test_each_kind_of_request_has_the_key_that_it_had(request_: AnyRequest, key: str) -> None:
    assert AnswerKeys("f", "h")(request_).hex() == key


@pytest.mark.parametrize(("name", "arguments", "keys"), CALLS)
def test_built_in_functions_ask_under_the_keys_that_they_had(
    name: str, arguments: dict[str, Any], keys: list[str]
) -> None:
    function = load_functions()[name]
    outcome = function.ask(**arguments)
    first = next(outcome) if function.is_in_steps else outcome
    requests = first if isinstance(first, list) else [first]
    text_model = ModelVersion("m", 1, "", Path(), "f")
    requests = [r.for_version(text_model) if isinstance(r, Predict) else r for r in requests]
    assert [AnswerKeys("f", function.answer_hash)(request).hex() for request in requests] == keys


def test_each_hash_that_answers_are_kept_under_is_that_of_a_built_in_function() -> None:
    assert set(ANSWER_HASHES) <= set(load_functions())
    assert set(ANSWER_HASHES) == {name for name, *_ in CALLS}


@pytest.mark.parametrize(("text", "output"), TEXTS)
def test_kept_texts_are_the_outputs_that_they_were_and_back(text: str, output: Output) -> None:
    decoded = decode(type(output), text)
    assert (type(decoded), decoded) == (type(output), output)
    assert encode(output) == text


@pytest.mark.parametrize("output_type", [Embedding, Probabilities, Count, Cuts])
def test_a_kept_text_that_is_no_output_of_its_type_stays_a_text(output_type: type[Output]) -> None:
    assert decode(output_type, "<no answer>") == Text("<no answer>")
