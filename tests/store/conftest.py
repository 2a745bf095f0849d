from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlinfer.store import Store

MakeModel = Callable[..., Path]


def read_elsewhere(file: Path) -> bytes:
    """The bytes of a file of an open store, read by another process: this one would lose its locks on it."""
    return subprocess.run(["cat", file], check=True, capture_output=True).stdout


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLINFER_HOME", str(tmp_path / "home"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    def make(name: str = "model", weights: bytes = b"abcd") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text('{"model_type": "tiny"}')
        (folder / "tokenizer.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(safetensors(weights))
        return folder

    return make


def safetensors(weights: bytes) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(weights)], "data_offsets": [0, len(weights)]}}).encode()
    return struct.pack("<Q", len(header)) + header + weights


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub without a network, and the folder of its cache."""
    import huggingface_hub

    original = huggingface_hub.snapshot_download

    def download(*arguments: Any, **options: Any) -> str:
        return original(*arguments, **options, cache_dir=tmp_path / "hub")

    # The library reads its folder from the environment once, at import.
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.fixture
def make_cached(hub: Path, make_model: MakeModel) -> MakeModel:
    """Makes the model org/name as the hub's cache holds it."""

    def make(commit: str = "0123456789abcdef0123456789abcdef01234567", weights: bytes = b"abcd") -> Path:
        repository = hub / "models--org--name"
        for part in ("snapshots", "refs"):
            (repository / part).mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text(commit)
        return make_model("fresh", weights).rename(repository / "snapshots" / commit)

    return make
