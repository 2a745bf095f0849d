"""Batched = one by one = transformers' own generate, token for token in fp32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from sqlinfer.engine import open_engine
from sqlinfer.engine.attention import beam_cross_attention
from sqlinfer.engine.batch.padded_seq2seq import PaddedSeq2SeqBatch
from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.engine.scheduler import Limits
from sqlinfer.types import ModelVersion, Request
from tests.engine.engine_cases import TEXTS, EngineOf, answer, requests, texts

DECODERS = ("llama", "qwen3", "gpt2")
SHAPES = (*DECODERS, "t5", "bart")


@lru_cache(maxsize=1024)
def generate(engine: TransformersEngine, text: str, task: str = "generate", **options: object) -> str:
    """The answer of transformers' own generate to one text, computed once for all cases of a test."""
    (request,) = requests([text], task=task)
    (sequence,) = engine.loaded.prompts.prepare([request])
    prompt = torch.tensor([sequence.prompt])
    eos = sorted(engine.loaded.prompts.defaults.eos)
    output = engine.loaded.model.generate(
        prompt, attention_mask=torch.ones_like(prompt), eos_token_id=eos, do_sample=False, **options
    )[0].tolist()
    return engine.loaded.prompts.decode(output[len(sequence.decoder_prompt) :])


@pytest.mark.parametrize("shape", SHAPES)
def test_greedy_is_generate(shape: str, engine_of: EngineOf) -> None:
    engine = engine_of(shape)
    ours = texts(answer(engine, requests(max_tokens=24, num_beams=1)))
    theirs = [generate(engine, text, max_new_tokens=24, num_beams=1) for text in TEXTS]
    assert ours == theirs
    assert len(set(ours)) > len(ours) // 2  # the model does not answer one thing to all


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.filterwarnings("ignore:Unfeasible length constraints")
def test_rows_that_join_a_running_batch_are_generate(shape: str, engine_of: EngineOf) -> None:
    engine = engine_of(shape)
    engine.limits = Limits(max_slots=3)
    many = [f"{text} {i}" for i in range(2) for text in TEXTS]
    batch = [r for i, text in enumerate(many) for r in requests([text], max_tokens=(5, 30, 11)[i % 3], num_beams=1)]
    ours = [c.output for r in batch for c in engine.generate([r])]
    together = list(engine.generate([_named(r, i) for i, r in enumerate(batch)]))
    assert [c.output for c in sorted(together, key=lambda c: int(c.request.key))] == ours
    assert ours[:3] == [
        generate(engine, text, max_new_tokens=n, num_beams=1) for text, n in zip(many, (5, 30, 11), strict=False)
    ]


def _named(request: Request, i: int) -> Request:
    return replace(request, key=str(i).encode())


@pytest.mark.parametrize("max_slots", [4, 9, 64])
@pytest.mark.parametrize(("shape", "task"), [("bart", "generate"), ("t5", "summarize")])
def test_beam_search_by_the_models_defaults_is_generate(
    shape: str, task: str, max_slots: int, engine_of: EngineOf
) -> None:
    engine = engine_of(shape)
    engine.limits = Limits(max_slots=max_slots)
    assert engine.runner.defaults(task)["num_beams"] == 4
    params = {}
    if shape == "t5":
        params = {
            k: v for k, v in engine.loaded.model.config.task_specific_params["summarization"].items() if k != "prefix"
        }
    ours = texts(answer(engine, requests(task=task)))
    assert ours == [generate(engine, text, task, **params) for text in TEXTS]


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("shape", ["t5", "bart"])
def test_beams_share_what_their_rows_encoder_has_read_where_the_model_can(
    shape: str, shares: bool, engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(shape)
    assert beam_cross_attention.is_supported(engine.loaded.model)
    if not shares:
        monkeypatch.setitem(beam_cross_attention._supported, engine.loaded.model, False)
    sizes: set[tuple[int, int]] = set()
    decode = PaddedSeq2SeqBatch.decode

    def look(batch: PaddedSeq2SeqBatch) -> torch.Tensor:
        sizes.add((len(batch.rows), len(batch._cache.cross_attention_cache.layers[0].keys)))
        return decode(batch)

    monkeypatch.setattr(PaddedSeq2SeqBatch, "decode", look)
    ours = texts(answer(engine, requests(num_beams=3, max_tokens=9, min_tokens=0)))
    assert ours == [generate(engine, text, num_beams=3, max_new_tokens=9, min_length=0) for text in TEXTS]
    assert all(read == (rows if shares else 3 * rows) for rows, read in sizes)
    assert sizes


def test_a_model_whose_attention_is_of_another_kind_does_not_share(
    engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = engine_of("bart").loaded.model
    monkeypatch.setattr(beam_cross_attention, "_supported", {})
    monkeypatch.setattr(type(model), "_supports_sdpa", False)
    assert not beam_cross_attention.is_supported(model)
    monkeypatch.undo()
    monkeypatch.setattr(beam_cross_attention, "_supported", {})
    monkeypatch.setattr(beam_cross_attention, "share_encoder_kv", lambda model: nullcontext())
    assert not beam_cross_attention.is_supported(model)


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("shape", ["t5", "bart"])
def test_beam_search_rules_are_generate(
    shape: str, length_penalty: float, early_stopping: bool | str, engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(shape)
    options = {"length_penalty": length_penalty, "early_stopping": early_stopping, "no_repeat_ngram_size": 2}
    own = {**engine.loaded.prompts.defaults.generation, **options}
    monkeypatch.setattr(engine.loaded.prompts.defaults, "generation", own)
    few = TEXTS[:3]
    ours = texts(answer(engine, requests(list(few), num_beams=3, max_tokens=14, min_tokens=0)))
    more = {"max_new_tokens": 14, "min_length": 0, "num_beams": 3}
    assert ours == [generate(engine, text, **options, **more) for text in few]


SMALL = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.5,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WINDOW = {"sliding_window": 8, "head_dim": 16}
STRETCHED = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 8,
    "long_factor": [8.0] * 8,
}
ENCODER_DECODER = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "init_std": 0.5,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}
KINDS = {
    "mistral": WINDOW,
    "gemma3_text": {**WINDOW, "layer_types": ["sliding_attention", "full_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "phi3": {
        "max_position_embeddings": 2048,
        "original_max_position_embeddings": 200,
        "rope_parameters": STRETCHED,
    },
    "mamba": {"state_size": 8},
    "bloom": {"n_layer": 2, "n_head": 4},
    "pegasus": ENCODER_DECODER,
    "m2m_100": ENCODER_DECODER,
    "bart": {**ENCODER_DECODER, "encoder_layers": 3, "num_hidden_layers": 3, "decoder_layers": 1},
    "t5": {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_decoder_layers": 1, "decoder_start_token_id": 0},
}


def _other(kind: str, folder: Path, tokenizer: Path) -> TransformersEngine:
    """An engine of a tiny model of another kind, with the tokenizer of one of ours."""
    config = AutoConfig.for_model(kind, **{**SMALL, **KINDS[kind]})
    loader = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        loader.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tokenizer / name).read_bytes())
    return open_engine(ModelVersion(kind, 1, str(folder), folder, kind, dtype="float32"), device="cpu")


@pytest.mark.parametrize("shape", DECODERS)
def test_padded_rows_are_packed_rows(shape: str, engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(shape)
    engine.limits = Limits(max_slots=3)
    packed = texts(answer(engine, requests(max_tokens=12)))
    assert engine.loaded.padding_reason == ""
    monkeypatch.setattr(engine.loaded, "_padding_reason", "a test")
    assert texts(answer(engine, requests(max_tokens=12))) == packed


def test_rows_of_many_lengths_in_one_cohort_are_generate(engine_of: EngineOf) -> None:
    engine = engine_of("llama")
    many = [" ".join(["one"] * (1 + 3 * i)) for i in range(24)]  # buckets that grow in rows and in slots
    ends = [(3, 90, 20)[i % 3] for i in range(24)]
    batch = [requests([text], max_tokens=n)[0] for text, n in zip(many, ends, strict=True)]
    ours = texts(answer(engine, [_named(r, i) for i, r in enumerate(batch)]))
    assert ours == [generate(engine, text, max_new_tokens=n) for text, n in zip(many, ends, strict=True)]


@pytest.mark.parametrize("kind", ["mistral", "gemma3_text", "lfm2", "mamba", "bloom"])
def test_a_model_that_cannot_be_packed_says_why(
    kind: str, tmp_path: Path, folder_of: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    engine = _other(kind, tmp_path, folder_of("gpt2"))
    answer(engine, requests(["a"], max_tokens=1))
    assert engine.loaded.padding_reason
    assert f"{kind}/1: rows are padded" in caplog.text


@pytest.mark.parametrize("kind", list(KINDS))
def test_other_caches_and_positions_are_generate(kind: str, tmp_path: Path, folder_of: Callable[[str], Path]) -> None:
    engine = _other(kind, tmp_path, folder_of("bart" if "d_model" in KINDS[kind] else "gpt2"))
    engine.limits = Limits(max_slots=3)
    ours = texts(answer(engine, requests(max_tokens=14)))
    assert ours == [generate(engine, text, max_new_tokens=14) for text in TEXTS]


def test_beam_search_without_refill_is_generate(tmp_path: Path, folder_of: Callable[[str], Path]) -> None:
    engine = _other("m2m_100", tmp_path, folder_of("bart"))
    engine.limits = Limits(max_slots=9)
    ours = texts(answer(engine, requests(num_beams=3, max_tokens=10)))
    assert ours == [generate(engine, text, num_beams=3, max_new_tokens=10) for text in TEXTS]


def test_a_long_row_does_not_stretch_the_positions_of_others(tmp_path: Path, folder_of: Callable[[str], Path]) -> None:
    engine = _other("phi3", tmp_path, folder_of("gpt2"))
    long = "The box was open. " * 60
    batch = requests([TEXTS[0], long, TEXTS[2]], max_tokens=8)
    first, refused, last = answer(engine, batch)
    assert [first.output, last.output] == [generate(engine, text, max_new_tokens=8) for text in (TEXTS[0], TEXTS[2])]
    assert "truncate" in str(refused.error)
