"""`sqlinfer models warm`: in the server if one runs, else here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqlinfer.cli.state import open_store
from sqlinfer.engine import close_all, get_engine
from sqlinfer.functions import load_functions
from sqlinfer.inference.runtime import Runtime
from sqlinfer.serve.address import socket_path
from sqlinfer.serve.server import Server
from sqlinfer.serve.service import Service
from tests.cli.conftest import Invoke

TINY = "sqlinfer/tiny"


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server on the built-in models, in this process."""
    monkeypatch.setenv("SQLINFER_DEVICE", "cpu")
    close_all()
    with open_store() as store:
        server = Server(Service(Runtime(store, load_functions())))
        server.listen(socket_path())
        thread = threading.Thread(target=server.run)
        thread.start()
        yield
        server.stop.set()
        thread.join()
    close_all()


def test_a_model_is_loaded_in_the_server_and_stays_there(invoke: Invoke, server: None) -> None:
    assert "keeps them loaded" in invoke("models", "warm", TINY).stdout
    with open_store() as store:
        engine = get_engine(store.registry.get(TINY))
    assert engine.loaded.is_loaded
    (again,) = json.loads(invoke("models", "warm", TINY, "--json").stdout)
    assert (again["model"], again["path"]) == (TINY, ["cpu", "float32", "packed"])
    assert again["bytes"] > sum(p.nbytes for p in engine.loaded.model.parameters())  # the packed ones show none


def test_without_a_server_each_model_that_can_be_is_loaded_once_and_the_message_says_so(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLINFER_DEVICE", "cpu")
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "score.py").write_text("def run(batch):\n    return [1] * len(batch)")
    script = ("--script", "score.py", "--returns", "INTEGER", "--trust", "--set", "max_concurrency_per_instance=2")
    invoke("models", "register", "digits", str(folder), *script)
    invoke("models", "register", "gpt", "openai:gpt-5-mini")
    warmed = invoke("models", "warm", "absent", TINY, "digits", "gpt", code=1)
    assert f"{TINY} is loaded: " in warmed.stdout
    assert "digits/1 is loaded: " in warmed.stdout
    assert "cpu, script, 2 worker processes" in warmed.stdout
    assert "gpt/1 is at openai:gpt-5-mini: there is nothing to load" in warmed.stdout
    assert "the memory is free again" in warmed.stdout
    assert "No model 'absent' is registered" in warmed.stderr
