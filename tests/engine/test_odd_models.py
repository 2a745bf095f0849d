"""Models that break what others keep to: a row alone, the row in a full batch and transformers give the same, or the
row is an error of its own."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from sqlinfer.engine import open_engine
from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.engine.model.weights import quiet
from sqlinfer.types import AnyRequest, Classify, Embed, ModelVersion, Parameters, Request
from tests.engine.engine_cases import answer
from tools.random_models import Size, build_tokenizer

SIZE = Size(vocabulary=320, positions=512)
IDS = {"vocab_size": 320, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
ENCODER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
SEQ2SEQ = {
    **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2},
    **{"decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "decoder_start_token_id": 2},
}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
TEXTS = ("cat", "a longer text about nothing at all", "dog", "The order arrived two days late. " * 3, "a b c d e f")
Open = Callable[..., TransformersEngine]


@pytest.fixture
def build(tmp_path: Path) -> Open:
    """Opens a random model of a class of transformers, with a tokenizer of this shape."""

    def make(name: str, shape: Any = "gpt2", size: Size = SIZE, **config: Any) -> TransformersEngine:
        folder = tmp_path / name
        kind = getattr(transformers, name)
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(0)
            model = kind(kind.config_class(**{**IDS, **config}))
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    torch.nn.init.normal_(parameter, std=0.5)
            model.generation_config = None if not model.can_generate() else model.generation_config
            model.save_pretrained(folder)
            tokenizer = build_tokenizer(shape, size)
            tokenizer.save_pretrained(folder)
        return open_engine(ModelVersion("m", 1, str(folder), folder, "f", dtype="float32"), device="cpu")

    return make


def outputs(engine: TransformersEngine, asked: list[AnyRequest]) -> list[Any]:
    completions = answer(engine, asked)
    assert [c.error for c in completions] == [None] * len(completions)
    return [c.output for c in completions]


def asking(kind: Any, texts: tuple[str, ...] = TEXTS, **more: Any) -> list[Any]:
    return [kind(text, key=str(i).encode(), **more) for i, text in enumerate(texts)]


def generate(engine: TransformersEngine, request: Request, **options: Any) -> str:
    """The answer of transformers' own generate, in a model just loaded."""
    (sequence,) = engine.loaded.prompts.prepare([request])
    auto = transformers.AutoModelForSeq2SeqLM if engine.loaded.config.is_encoder_decoder else None
    with quiet():
        model = (auto or transformers.AutoModelForCausalLM).from_pretrained(engine.version.path).eval()
        prompt = torch.tensor([sequence.prompt])
        output = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            num_beams=1,
            eos_token_id=sorted(engine.loaded.prompts.defaults.eos),
            max_new_tokens=request.parameters.max_tokens,
            tokenizer=engine.loaded.prompts._tokenizer._tokenizer,
        )[0].tolist()
    return engine.loaded.prompts.decode(output[len(sequence.decoder_prompt) :])


OPT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 48, "word_embed_proj_dim": 32}
WRITERS = {
    "BartForCausalLM": {**SEQ2SEQ, "is_encoder_decoder": False, "max_position_embeddings": 256},
    "OPTForCausalLM": {**OPT, "max_position_embeddings": 256},
    "SwitchTransformersForConditionalGeneration": {**T5, "num_decoder_layers": 2, "num_experts": 2},
    "LEDForConditionalGeneration": {
        **SEQ2SEQ,
        **{"max_encoder_position_embeddings": 256, "max_decoder_position_embeddings": 32, "attention_window": [8, 8]},
    },
    "BigBirdPegasusForConditionalGeneration": {
        **SEQ2SEQ,
        **{"attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1, "max_position_embeddings": 256},
    },
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_row_in_a_batch_is_generates_whatever_ran_before(name: str, build: Open) -> None:
    engine = build(name, "gpt2" if "Causal" in name else "t5", **WRITERS[name])
    asked = asking(Request, parameters=Parameters(max_tokens=8, num_beams=1 if "Causal" not in name else None))
    theirs = [generate(engine, request) for request in asked]
    assert len(set(theirs)) > 2
    assert outputs(engine, asked) == theirs
    assert [outputs(engine, [request])[0] for request in reversed(asked)] == theirs[::-1]


READERS = {
    "FNetModel": {**ENCODER, "max_position_embeddings": 64},
    "BertModel": ENCODER,
    "BigBirdModel": {**ENCODER, "attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1},
    "RobertaPreLayerNormModel": {**ENCODER, "max_position_embeddings": 40, "pad_token_id": 1},
    "MPNetModel": {**ENCODER, "max_position_embeddings": 40, "pad_token_id": 1},
}


@pytest.mark.parametrize("name", READERS)
def test_an_embedding_in_a_batch_is_the_texts_alone(name: str, build: Open) -> None:
    engine = build(name, "bert", **READERS[name])
    together = outputs(engine, asking(Embed, overflow="truncate"))
    alone = [outputs(engine, [request])[0] for request in reversed(asking(Embed, overflow="truncate"))][::-1]
    assert np.allclose(together, alone, atol=1e-5)
    assert not np.allclose(together[0], together[2], atol=1e-3)


def test_a_classifier_that_takes_no_batch_gives_each_text_its_labels(
    build: Open, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128, "pad_token_id": None, "num_labels": 3}
    engine = build("GPT2ForSequenceClassification", "bert", **config)
    with caplog.at_level(logging.WARNING):
        together = outputs(engine, asking(Classify))
    assert together == [outputs(engine, [request])[0] for request in asking(Classify)]
    assert "rows run one by one, which is slower: several at once raise ValueError" in caplog.text


@pytest.mark.parametrize("name", ["RobertaPreLayerNormModel", "MPNetModel"])
def test_a_text_is_cut_to_the_positions_that_the_weights_have(name: str, build: Open) -> None:
    engine = build(name, "bert", **READERS[name])
    lengths = tuple("x" * n for n in range(33, 61))
    completions = answer(engine, asking(Embed, lengths, overflow="truncate"))
    assert [c.error for c in completions] == [None] * len(lengths)
    assert max(c.prompt_tokens for c in completions) == 38
    refused = answer(engine, asking(Embed, lengths))
    assert [c.error is None for c in refused] == [c.prompt_tokens <= 38 and not c.truncated for c in completions]


def test_encoder_and_decoder_are_bounded_by_their_own_tables(build: Open) -> None:
    engine = build("LEDForConditionalGeneration", "t5", **WRITERS["LEDForConditionalGeneration"])
    long = "x y " * 60
    many, fits = answer(
        engine,
        [
            *asking(Request, (long, long), parameters=Parameters(max_tokens=64))[:1],
            *asking(Request, (long, long), parameters=Parameters(max_tokens=31))[1:],
        ],
    )
    assert "max_tokens is 64, and the context of model m/1 is 32 tokens" in str(many.error)
    assert (fits.error, fits.truncated) == (None, False)
    assert fits.prompt_tokens > 100


SETTINGS = {
    "exponential_decay_length_penalty": [2, 3.0],
    "sequence_bias": [[[40], 6.0], [[50, 51], -3.0]],
    "encoder_repetition_penalty": 1.6,
    "stop_strings": ["e", "qu"],
    "repetition_penalty": 1.5,
}


@pytest.mark.parametrize(("name", "value"), SETTINGS.items(), ids=SETTINGS)
@pytest.mark.parametrize("shape", ["gpt2", "t5"])
def test_a_models_own_settings_are_obeyed_as_generate_does(
    shape: str, name: str, value: Any, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folder_of(shape), tmp_path / "m"))
    file = folder / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    engine = open_engine(ModelVersion("m", 1, str(folder), folder, "f", dtype="float32"), device="cpu")
    asked = asking(Request, parameters=Parameters(max_tokens=12))
    assert outputs(engine, asked) == [generate(engine, request) for request in asked]


def test_settings_that_are_not_obeyed_are_named_once(
    folder_of: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(folder_of("gpt2"), tmp_path / "m"))
    file = folder / "generation_config.json"
    settings = {"typical_p": 0.5, "a_new_setting": 7, "use_cache": True, "cache_implementation": "static", "min_p": 0.0}
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    engine = open_engine(ModelVersion("m", 1, str(folder), folder, "f", dtype="float32"), device="cpu")
    with caplog.at_level(logging.WARNING):
        outputs(engine, asking(Request, parameters=Parameters(max_tokens=2)))
        outputs(engine, asking(Request, parameters=Parameters(max_tokens=2)))
    (line,) = [record.getMessage() for record in caplog.records if "not obeyed" in record.getMessage()]
    assert line.endswith(": typical_p = 0.5, a_new_setting = 7")
