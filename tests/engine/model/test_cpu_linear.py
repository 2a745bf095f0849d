"""Packed weights give the matmuls of the plain ones; int8 weights about these, each row by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig
from transformers.pytorch_utils import Conv1D

from sqlinfer.engine import open_engine
from sqlinfer.engine.model.cpu_linear import Int8Linear, PackedLinear, multiplies_int8, replace_linear_layers
from sqlinfer.engine.model.precision import pick_precision
from sqlinfer.errors import ModelUnusable
from sqlinfer.types import Embed, ModelVersion
from tests.engine.engine_cases import EngineOf, answer, requests, texts
from tests.engine.test_generate_equality import _other

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 5), (1, 300)])
@pytest.mark.parametrize("layer", [torch.nn.Linear(5, 9), torch.nn.Linear(5, 9, bias=False), Conv1D(9, 5)])
def test_a_packed_layer_is_the_layer(layer: torch.nn.Module, shape: tuple[int, ...]) -> None:
    model = torch.nn.Sequential(copy.deepcopy(layer))
    states = torch.randn(*shape, 5)
    with torch.inference_mode():
        expected = model(states)
        replace_linear_layers(model)
        assert isinstance(model[0], PackedLinear)
        torch.testing.assert_close(model(states), expected)


def test_layers_of_other_kinds_and_tables_stay() -> None:
    class Own(torch.nn.Linear):
        pass

    model = torch.nn.Sequential(Own(5, 9), torch.nn.Embedding(4, 9))
    before = list(model)
    replace_linear_layers(model)
    assert list(model) == before


@pytest.mark.parametrize("shape", ["llama", "gpt2", "t5", "bart"])
def test_an_engine_on_the_cpu_packs_its_weights(shape: str, engine_of: EngineOf) -> None:
    kinds = {type(module) for module in engine_of(shape).loaded.model.modules()}
    assert PackedLinear in kinds
    assert not kinds & {torch.nn.Linear, Conv1D}


@pytest.mark.parametrize("layer", [torch.nn.Linear(640, 90), torch.nn.Linear(640, 90, bias=False), Conv1D(90, 640)])
def test_a_layer_of_int8_is_about_the_layer_and_each_row_is_as_alone(layer: torch.nn.Module) -> None:
    model = torch.nn.Sequential(copy.deepcopy(layer), torch.nn.Identity())
    states = torch.randn(2, 3, 640) * torch.logspace(-3, 3, 6).view(2, 3, 1)
    with torch.inference_mode():
        expected = model(states)
        model.get_output_embeddings, model.__dict__["base_model"] = lambda: None, model
        replace_linear_layers(model, body=Int8Linear)
        assert isinstance(model[0], Int8Linear)
        output = model(states)
        error = (output - expected).norm(dim=-1) / expected.norm(dim=-1)
        assert float(error.max()) < 0.02
        for row in range(2):
            for token in range(3):
                assert torch.equal(model(states[row, token][None, None]), output[row, token][None, None])


def test_int8_keeps_zeros_and_what_is_not_a_number_in_their_rows() -> None:
    layer = Int8Linear(torch.randn(4, 8), torch.ones(4))
    output = layer(torch.stack([torch.zeros(8), torch.full((8,), torch.nan), torch.ones(8)]))
    assert torch.equal(output[0], torch.ones(4))
    assert bool(output[1].isnan().all())
    assert bool(output[2].isfinite().all())


@pytest.mark.skipif(not multiplies_int8(), reason="this processor's int8 matmuls are not exact")
@pytest.mark.parametrize("shape", ["llama", "gpt2", "t5", "bart"])
def test_an_engine_in_int8_answers_each_row_as_alone(
    shape: str, folder_of: Callable[[str], Path], found: Callable[..., None]
) -> None:
    found(Int8Linear, torch.float32)
    folder = folder_of(shape)
    engine = open_engine(ModelVersion(shape, 1, str(folder), folder, shape, dtype="int8"), device="cpu")
    asked = requests(max_tokens=6)
    together = texts(answer(engine, asked))
    assert together == [texts(list(engine.generate([request])))[0] for request in asked]
    kinds = [type(module) for module in engine.loaded.model.modules()]
    assert kinds.count(PackedLinear) == 1  # the head
    assert Int8Linear in kinds
    assert not {torch.nn.Linear, Conv1D} & set(kinds)


def test_int8_is_refused_where_it_cannot_be(tmp_path: Path, folder_of: Callable[[str], Path]) -> None:
    engine = _other("mamba", tmp_path, folder_of("gpt2"))
    engine.loaded.dtype = "int8"
    with pytest.raises(ModelUnusable, match=r"cannot run in int8. Use bfloat16 or float32"):
        list(engine.generate(requests(max_tokens=2)))
    with pytest.raises(ModelUnusable, match="int8 is for the CPU; on meta use bfloat16"):
        pick_precision("int8", torch.device("meta"), LlamaConfig())


@pytest.mark.skipif(not multiplies_int8(), reason="this processor's int8 matmuls are not exact")
def test_an_encoder_in_int8_embeds_about_as_in_float32(
    folder_of: Callable[[str], Path], found: Callable[..., None]
) -> None:
    found(Int8Linear, torch.float32)
    folder = folder_of("bert")
    asked = [Embed(request.text, key=request.key) for request in requests()]
    plain, whole = (
        [np.asarray(completion.output) for completion in answer(open_engine(version, device="cpu"), asked)]
        for dtype in ("float32", "int8")
        for version in [ModelVersion("bert", 1, str(folder), folder, "bert", dtype=dtype)]
    )
    for one, other in zip(plain, whole, strict=True):
        assert 0.99 < float(one @ other / np.linalg.norm(one) / np.linalg.norm(other)) < 1 - 1e-9


def test_heads_stay_as_they_are_in_int8() -> None:
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=9)
    model = BertForSequenceClassification(config)
    replace_linear_layers(model, body=Int8Linear)
    assert isinstance(model.classifier, PackedLinear)
    assert isinstance(model.bert.encoder.layer[0].output.dense, Int8Linear)
