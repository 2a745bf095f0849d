"""An answer to a schema satisfies it, in any batch, and is the answer that the row has alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from llguidance import LLMatcher

from sqlinfer.engine import compile_schema, open_engine
from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.engine.scheduler import Limits
from sqlinfer.types import ModelVersion, Parameters, Request
from tests.engine.engine_cases import TEXTS, EngineOf, answer, requests, texts
from tests.engine.test_generate_faults import _out_of_memory, intercept  # noqa: F401 - a fixture
from tools import random_models as shapes

SHAPES = ("llama", "qwen3", "gpt2", "t5", "bart")
FIELDS: dict[str, Any] = {
    "product": {"type": ["string", "null"]},
    "price": {"type": "number", "minimum": -1000, "maximum": 1000, "multipleOf": 1e-3},
    "kind": {"enum": ["good", 'b"d', "😀"]},
    "tags": {"type": "array", "items": {"type": "string"}},
    "paid": {"type": "boolean"},
}


def struct(properties: dict[str, Any]) -> str:
    return json.dumps(
        {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    )


SCHEMA = struct(FIELDS)


def asked(schema: str = SCHEMA, many: tuple[str, ...] = TEXTS, **parameters: object) -> list[Request]:
    return [replace(request, schema=schema) for request in requests(many, **parameters)]


def satisfies(text: str) -> bool:
    found = json.loads(text)
    return (
        list(found) == list(FIELDS)
        and isinstance(found["product"], str | None)
        and -1000 <= found["price"] <= 1000
        and found["kind"] in FIELDS["kind"]["enum"]
        and all(isinstance(tag, str) for tag in found["tags"])
        and found["paid"] in (True, False)
        and ": " in text
    )


@torch.inference_mode()
def reference(engine: TransformersEngine, request: Request) -> str:
    """The likeliest allowed token of a full pass over everything, again and again; far from max_tokens."""
    (sequence,) = engine.loaded.prompts.prepare([request])
    matcher = LLMatcher(sequence.constraint.grammar.masks.tokenizer, compile_schema(request.schema))
    written: list[int] = []
    while (
        not matcher.is_stopped() and len(written) < sequence.settings.max_tokens - sequence.constraint.grammar.reserve
    ):
        ids = torch.tensor([sequence.prompt])
        if engine.loaded.config.is_encoder_decoder:
            logits = engine.loaded.model(
                input_ids=ids, decoder_input_ids=torch.tensor([sequence.decoder_prompt + written])
            ).logits
        else:
            logits = engine.loaded.model(input_ids=torch.tensor([sequence.prompt + written])).logits
        bias = torch.frombuffer(bytearray(matcher.compute_logit_bias()), dtype=torch.uint8)[: logits.shape[-1]]
        token = int(logits[0, -1].masked_fill(bias == 0, -torch.inf).argmax())
        matcher.consume_token(token)
        forced = [] if matcher.is_stopped() else matcher.compute_ff_tokens()
        matcher.consume_tokens(forced)
        written += [token, *forced]
    return sequence.constraint.text(written).rstrip("\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_is_the_likeliest_allowed_token_each_time(shape: str, engine_of: EngineOf) -> None:
    engine = engine_of(shape)
    found = texts(answer(engine, asked(max_tokens=120)))
    expected = [reference(engine, request) for request in asked(max_tokens=120)]
    assert [text[: len(begin)] for text, begin in zip(found, expected, strict=True)] == expected
    assert all(map(satisfies, found))
    assert len(set(found)) > len(found) // 2


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mixed_batch_gives_each_row_the_answer_that_it_has_alone(shape: str, engine_of: EngineOf) -> None:
    engine = engine_of(shape)
    engine.limits = Limits(max_slots=5)
    other = struct({"a": {"type": "integer", "minimum": 0, "maximum": 99}})
    three = zip(asked(max_tokens=140), asked(other, max_tokens=40), requests(max_tokens=30), strict=True)
    mixed = [replace(r, key=str(i).encode()) for i, r in enumerate(r for each in three for r in each)]
    alone = [texts(answer(engine, [replace(request, key=b"0")]))[0] for request in mixed]
    assert texts(answer(engine, mixed)) == alone


@pytest.mark.parametrize("temperature", [0.0, 2.0])
@pytest.mark.parametrize("shape", ["llama", "t5"])
def test_every_answer_ends_within_max_tokens(shape: str, temperature: float, engine_of: EngineOf) -> None:
    engine = engine_of(shape)
    many = tuple(f"{text} {i}" for i in range(12) for text in TEXTS)
    free = json.dumps({"type": "array", "items": {"type": "object", "properties": {"x": {}}}})
    for schema, check in ((SCHEMA, satisfies), (free, json.loads)):
        found = answer(engine, asked(schema, many, max_tokens=140, temperature=temperature))
        assert [c.error for c in found] == [None] * len(found)
        assert max(c.completion_tokens for c in found) <= 140
        for completion in found:
            assert check(completion.output) or completion.output == "[]"


def test_what_no_answer_can_be_is_the_error_of_its_row(engine_of: EngineOf) -> None:
    wrong = [
        (asked(max_tokens=5)[0], "max_tokens is 5, and an answer to the schema has at least"),
        (asked('{"type": "strin"}')[0], "Invalid type: strin"),
        (asked(num_beams=2)[0], "beam search cannot follow a schema"),
        (asked(struct({"date": {"type": "string", "pattern": "[0-9]{3000}"}}), max_tokens=50)[0], "none is short"),
    ]
    engine = engine_of("t5")
    good = replace(asked(max_tokens=140)[0], key=b"9")
    found = answer(engine, [*(replace(r, key=str(i).encode()) for i, (r, _) in enumerate(wrong)), good])
    for completion, (_, words) in zip(found, wrong, strict=False):
        assert words in str(completion.error)
    assert found[-1].error is None


@pytest.mark.parametrize("shape", ["llama", "t5"])
@pytest.mark.parametrize("failing", [1, 2, 7])
def test_out_of_memory_once_changes_no_answer(shape: str, failing: int, engine_of: EngineOf, intercept) -> None:  # noqa: F811
    engine = engine_of(shape)
    expected = texts(answer(engine, asked(max_tokens=140)))
    intercept(engine, lambda call, lines, tokens: _out_of_memory() if call == failing else None)
    assert texts(answer(engine, asked(max_tokens=140))) == expected


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "object", "properties": {"a": {"type": "strin"}}}, "properties.a: Invalid type: strin"),
        (
            {"anyOf": [{"type": "null"}, {"type": "array", "items": {"format": "x", "type": "string"}}]},
            "anyOf.1.items: ",
        ),
        (
            {"type": "object", "properties": {"n": {"type": "integer", "minimum": 5, "maximum": 3}}, "required": ["n"]},
            "properties.n: Unsatisfiable schema",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}, "properties.a: Pointer '/$defs/b'"),
        (
            {
                "$defs": {"b": {"enum": []}},
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/b"}},
                "required": ["a"],
            },
            "properties.a: Unsatisfiable schema",
        ),
        ({"not": {}}, "the schema: Unimplemented keys"),
    ],
)
def test_a_schema_that_cannot_be_met_is_refused_with_the_place(schema: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=re.escape(place)):
        compile_schema(json.dumps(schema))


def write_metaspace_tokenizer(folder: Path) -> None:
    """A tokenizer of words with a mark for spaces, and no tokens for bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token=shapes.UNKNOWN))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    letters = list('{}[]":,.0123456789-abcdefghijklmnopqrstuvwxyz')
    special = list(shapes.SPECIAL)
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator(shapes.TEXT, trainer)
    names = {"bos_token": shapes.BOS, "eos_token": shapes.EOS, "pad_token": shapes.PAD, "unk_token": shapes.UNKNOWN}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


def test_a_tokenizer_without_bytes_follows_a_schema(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_of("gpt2"), tmp_path / "m"))
    write_metaspace_tokenizer(folder)
    engine = open_engine(ModelVersion("m", 1, str(folder), folder, "f", dtype="float32"), device="cpu")
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "sold": {"type": "integer"}}}
    schema |= {"required": ["name", "sold"], "additionalProperties": False}
    asked = [
        Request(text, schema=json.dumps(schema), parameters=Parameters(max_tokens=60), key=str(i).encode())
        for i, text in enumerate(("a lamp", "the chair near the window", "x"))
    ]
    for completion in answer(engine, asked):
        assert completion.error is None
        assert {name: type(value) for name, value in json.loads(str(completion.output)).items()} == {
            "name": str,
            "sold": int,
        }
