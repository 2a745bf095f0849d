"""Packed weights give the products of the plain ones."""

from __future__ import annotations

import copy

import pytest
import torch
from engine_cases import EngineOf
from transformers.pytorch_utils import Conv1D

from sqlinfer.engine.linear import PackedLinear, pack

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 5), (1, 300)])
@pytest.mark.parametrize("layer", [torch.nn.Linear(5, 9), torch.nn.Linear(5, 9, bias=False), Conv1D(9, 5)])
def test_a_packed_layer_is_the_layer(layer: torch.nn.Module, shape: tuple[int, ...]) -> None:
    model = torch.nn.Sequential(copy.deepcopy(layer))
    states = torch.randn(*shape, 5)
    with torch.inference_mode():
        expected = model(states)
        pack(model)
        assert isinstance(model[0], PackedLinear)
        torch.testing.assert_close(model(states), expected)


def test_layers_of_other_kinds_and_tables_stay() -> None:
    class Own(torch.nn.Linear):
        pass

    model = torch.nn.Sequential(Own(5, 9), torch.nn.Embedding(4, 9))
    before = list(model)
    pack(model)
    assert list(model) == before


@pytest.mark.parametrize("shape", ["llama", "gpt2", "t5", "bart"])
def test_an_engine_on_the_cpu_packs_its_model(shape: str, engine_of: EngineOf) -> None:
    kinds = {type(module) for module in engine_of(shape).model.modules()}
    assert PackedLinear in kinds
    assert not kinds & {torch.nn.Linear, Conv1D}
