"""The memory that a model is estimated to need is what it holds once it is loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import torch
import transformers

from sqlinfer.engine import estimate_memory, peak_memory
from sqlinfer.engine.model import memory_estimate
from sqlinfer.engine.model.cpu_linear import PackedLinear
from sqlinfer.types import ModelVersion
from tests.engine.engine_cases import EngineOf

VersionOf = Callable[..., ModelVersion]


def load_model(path: Path) -> torch.nn.Module:
    """As transformers holds it: the engine packs weights, which parameters() does not show."""
    architecture = getattr(transformers, transformers.AutoConfig.from_pretrained(path).architectures[0])
    model: torch.nn.Module = architecture.from_pretrained(path, dtype=torch.float32)
    return model


@pytest.mark.parametrize("shape", ["llama", "t5", "gpt2"])
def test_the_bytes_of_the_weights_are_those_of_the_loaded_model(
    version_of: VersionOf, shape: str, monkeypatch: pytest.MonkeyPatch, found: Callable[..., None]
) -> None:
    found(PackedLinear, torch.bfloat16)
    monkeypatch.setenv("SQLINFER_DEVICE", "cpu")
    model = load_model(version_of(shape).path)
    held = {p.data_ptr(): p.numel() * p.element_size() for p in (*model.parameters(), *model.buffers())}
    estimate = estimate_memory(version_of(shape), 0)
    assert estimate.weights_bytes == pytest.approx(sum(held.values()), rel=0.02)
    assert estimate_memory(version_of(shape, dtype="bfloat16"), 0).weights_bytes == estimate.weights_bytes // 2


def test_a_row_needs_the_cache_of_its_tokens(version_of: VersionOf, engine_of: EngineOf) -> None:
    version, model = version_of("llama"), engine_of("llama").loaded.model
    with torch.inference_mode():
        cache = model(torch.zeros(1, 10, dtype=torch.long), use_cache=True).past_key_values
    held = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
    assert estimate_memory(version, 10).row_bytes == held


def test_a_model_fits_if_its_weights_and_one_row_are_free(
    version_of: VersionOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = estimate_memory(version_of("llama"), 10).bytes
    monkeypatch.setattr(memory_estimate, "free_memory", lambda _: least)
    assert estimate_memory(version_of("llama"), 10).fits
    assert not estimate_memory(version_of("llama"), 11).fits


def test_the_peak_is_known_while_another_thread_imports_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("torch")
    module.__spec__ = ModuleSpec("torch", None)
    module.__spec__._initializing = True  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)
    assert peak_memory()["peak_device_bytes"] == 0
    assert peak_memory()["peak_memory_bytes"] > 0
