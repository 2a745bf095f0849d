"""Tiny models built from a configuration, one of each shape, for the whole test session."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sqlinfer.engine import open_engine
from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.engine.model import precision
from sqlinfer.engine.model.cpu_linear import Layer
from sqlinfer.types import ModelVersion

if not torch.cuda.is_available():  # kernels run in Triton's interpreter, which is chosen when they are loaded
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _shared_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share the KV of shared prefixes in batches as small as the tests' too."""
    from sqlinfer.engine.cache import prefix_tree

    monkeypatch.setattr(prefix_tree, "MIN_SAVED", 1)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set what the trial of a kind of product found on this CPU: what is wrong with it, "" for nothing."""
    monkeypatch.setattr(precision, "_faults", dict(precision._faults))

    def put(layer: Layer | None, dtype: torch.dtype, fault: str = "") -> None:
        precision._faults[layer, dtype, torch.device("cpu")] = fault

    return put


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of the tiny model of a shape."""
    from tools import random_image_models, random_models

    root = tmp_path_factory.mktemp("models")

    def folder(shape: str) -> Path:
        if (root / shape).exists():
            return root / shape
        builder = random_image_models if shape in random_image_models.BUILDERS else random_models
        return builder.build(shape, root / shape)

    return folder


@pytest.fixture(scope="session")
def version_of(folder_of: Callable[[str], Path]) -> Callable[..., ModelVersion]:
    """Model version of a shape."""

    def make(shape: str, **more: object) -> ModelVersion:
        folder = folder_of(shape)
        values = {"fingerprint": f"tiny-{shape}", "dtype": "float32", **more}
        return ModelVersion(shape, 1, str(folder), folder, **values)

    return make


@pytest.fixture(scope="session")
def engine_of(version_of: Callable[..., ModelVersion]) -> Callable[[str], TransformersEngine]:
    """Engine of a shape, loaded once for all tests; its batch limits are the default again in each test."""
    engines: dict[str, TransformersEngine] = {}

    def get(shape: str) -> TransformersEngine:
        engine = engines.setdefault(shape, open_engine(version_of(shape), device="cpu"))
        engine.limits = None
        return engine

    return get
