from __future__ import annotations

from dataclasses import replace

import pytest

from sqlinfer.store import AnswerKeys, answer_key
from sqlinfer.types import AnyRequest, Choose, Classify, CountTokens, Embed, Parameters, Request, SplitText

BASE = Request("text", "instruction", parameters=Parameters(max_tokens=5, stop=("a", "b")))
CHOICE = Choose("text", (), "instruction", parameters=BASE.parameters)


def key(request: AnyRequest, fingerprint: str = "f", function: str = "h") -> bytes:
    return answer_key(fingerprint, function, request)


def test_key_has_16_bytes_and_is_the_same_in_each_run() -> None:
    assert key(BASE).hex() == "34178278d0e570a2310a83dd653ec0b2"


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, text="text "),
        replace(BASE, instruction=""),
        replace(BASE, task="summarize"),
        replace(BASE, overflow="truncate"),
        replace(BASE, schema='{"type": "object"}'),
        replace(BASE, turns=(("system", "short"),)),
        replace(BASE, turns=(("user", "short"),)),
        replace(BASE, is_prompt=True),
        SplitText("text", "instruction", parameters=BASE.parameters),
        *(
            replace(BASE, parameters=replace(BASE.parameters, **changed))
            for changed in (
                {"max_tokens": 6},
                {"max_tokens": None},
                {"min_tokens": 5},
                {"temperature": 0.0},
                {"top_p": 0.5},
                {"top_k": 0},
                {"num_beams": 1},
                {"seed": 0},
                {"stop": None},
                {"stop": ()},
                {"stop": ("ab",)},
                {"stop": ("a",)},
            )
        ),
    ],
)
def test_key_differs_with_each_field(other: AnyRequest) -> None:
    assert key(other) != key(BASE)


def test_key_differs_with_each_kind_of_request_and_what_it_alone_has() -> None:
    of_choices = [
        replace(CHOICE, choices=("a",)),
        replace(CHOICE, choices=("a", "b")),
        replace(CHOICE, choices=("b", "a")),
        replace(CHOICE, choices=("a",), query="late?"),
    ]
    bare = [Request("text"), Embed("text"), Embed("text", "truncate"), Classify("text"), CountTokens("text")]
    everything = [BASE, *of_choices, *bare, SplitText("text")]
    assert len(set(map(key, everything))) == len(everything)


def test_key_differs_with_model_and_function() -> None:
    assert (
        len({key(BASE), key(BASE, fingerprint="g"), key(BASE, function="g"), key(BASE, "fh", ""), key(BASE, "", "fh")})
        == 5
    )


def test_what_engines_hand_back_is_no_part_of_the_key() -> None:
    assert key(replace(BASE, key=b"1", route="there")) == key(BASE)


def test_equal_parameters_of_other_number_types_give_one_key() -> None:
    def of(parameters: Parameters) -> bytes:
        return AnswerKeys("f", "h")(Request("x", parameters=parameters))

    assert of(Parameters(temperature=1, top_p=1)) == of(Parameters(temperature=1.0, top_p=1.0))
    assert of(Parameters(temperature=0.0)) == of(Parameters(temperature=-0.0))
    assert of(Parameters(max_tokens=5)) == of(Parameters(max_tokens=5.0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Request("bc", "a"), Request("c", "ab")),
        (Request("", "ab"), Request("ab", "")),
        (Request("x", "a\0"), Request("\0x", "a")),
        (Request("x", parameters=Parameters(top_k=1)), Request("x", parameters=Parameters(num_beams=1))),
        (Request("x", parameters=Parameters(stop=("a", "bc"))), Request("x", parameters=Parameters(stop=("ab", "c")))),
        (Choose("x", ("a", "bc")), Choose("x", ("ab", "c"))),
        (Choose("x", ("a",)), Request("x", schema="a")),
        (Request("abc", parameters=Parameters(stop=())), Request("bc", parameters=Parameters(stop=("a",)))),
    ],
)
def test_parts_do_not_run_into_each_other(one: AnyRequest, other: AnyRequest) -> None:
    assert key(one) != key(other)


def test_any_text_has_a_key_of_its_own() -> None:
    texts = ["", "\0", "\0\0", "é", "e\u0301", "🎉", "\ud83c\udf89", "\ud800", "?", "\ufffd"]
    assert len({key(Request(text, text)) for text in texts}) == len(texts)


def test_a_maker_of_keys_forgets_nothing_between_requests() -> None:
    keys = AnswerKeys("f", "h")
    requests = [
        BASE,
        replace(BASE, task="summarize"),
        replace(BASE, instruction="other"),
        replace(BASE, text="t"),
        BASE,
    ]
    assert [keys(request) for request in requests] == [AnswerKeys("f", "h")(request) for request in requests]
