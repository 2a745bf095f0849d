"""The fixtures of a tracking server, and a model in its registry that sqlinfer put there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlinfer.engine import WEIGHTS
from sqlinfer.mlflow import export_model
from sqlinfer.store import Store
from sqlinfer.types import Parameters
from tests.mlflow_server import client, server

__all__ = ["client", "server"]
TINY = Path(WEIGHTS) / "tiny-summarizer"


@pytest.fixture(scope="session")
def short(server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registered model with two versions; the first is its champion."""
    with pytest.MonkeyPatch.context() as patch, Store(tmp_path_factory.mktemp("exporter")) as store:
        patch.setenv("MLFLOW_TRACKING_URI", server)
        for max_tokens in (12, 20):
            parameters = Parameters(max_tokens=max_tokens, num_beams=2)
            store.registry.register("short", str(TINY), task="summarize", parameters=parameters)
        store.registry.set_alias("short", "champion", 1)
        store.registry.tag("short", "team", "news")
        store.registry.tag("short", "rouge", "0.4", 2)
        store.registry.describe("short", "Summaries in a sentence")
        export_model(store.registry, "short")
    return "short"


@pytest.fixture
def registry(home: Path) -> Iterator[Any]:
    with Store(home) as store:
        yield store.registry
