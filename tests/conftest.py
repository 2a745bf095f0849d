"""What all tests share: a state folder of their own, and a model that echoes.

A process that loads a model costs ten seconds of imports, and a session a seventh of one. So a law of processes, stores
or signals starts `tests/slow_echo.py`; one of engines takes `engine_of(shape)`, loaded once a run; commands run by
CliRunner; and what many cases set up alike is made once a module and copied, as `tests/sql/test_phases.py` does.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlinfer.cli.shell import find_program
from sqlinfer.engine import split_points
from sqlinfer.store import Store
from sqlinfer.store.outputs import decode
from sqlinfer.types import (
    AnyRequest,
    Choose,
    Completion,
    Count,
    CountTokens,
    Cuts,
    Generate,
    Output,
    Probabilities,
    SplitText,
    Text,
)

# Tiny models want one thread: several spin for each other when tests share the cores. torch reads it when it loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

DATA = Path(__file__).parents[1].parent / "shared" / "data"


ECHO_WORDS = 12


class EchoEngine:
    """Answers with a function of the prompt; counts what it is asked. Mocks the model and nothing else.

    A text that holds "boom" fails. Of a request's choices one that stands in the text is the likeliest, and "yes" of a
    text that holds "angry"; a schema is answered by itself; more than ECHO_WORDS words are too long for it.
    answer: request -> output, or the text that is kept of it.
    """

    def __init__(self, answer: Callable[[AnyRequest], Output | str] | None = None) -> None:
        self.asked: list[AnyRequest] = []
        self.batches: list[int] = []
        self._answer = answer or _echo

    def generate(self, requests: Iterable[AnyRequest], cancel: Any = None) -> Iterator[Completion]:
        batch = 0
        for request in requests:
            if cancel is not None and cancel.is_set():
                break
            batch += 1
            self.asked.append(request)
            if "boom" in request.text:
                yield Completion(request, error="the model gave no answer", finish_reason="error")
            else:
                output = self._answer(request)
                if not isinstance(output, Output):
                    output = decode(request.output_type, output)
                yield Completion(request, output, len(request.text), 1)
        self.batches.append(batch)

    @property
    def texts(self) -> list[str]:
        return [request.text for request in self.asked]


def _echo(request: AnyRequest) -> Output:
    match request:
        case SplitText():
            words = [match.start() for match in re.finditer(r"\S+", request.text)]
            return Cuts(split_points(request.text, words, ECHO_WORDS, lambda part: len(part.split()) - ECHO_WORDS))
        case Choose():
            held = request.text + " yes" if "angry" in request.text else request.text + " no"
            weights = {choice: 6 if choice in held else 1 for choice in request.choices}
            return Probabilities({choice: weight / sum(weights.values()) for choice, weight in weights.items()})
        case CountTokens():
            return Count(len(request.text.split()))
        case Generate(schema=schema) if schema:
            return Text(schema)
        case Generate(instruction="yes or no"):
            return Text("yes" if "angry" in request.text else "no")
        case _:
            return Text(f"<{request.text}>")


@pytest.fixture(scope="session", autouse=True)
def home_of_shared_fixtures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No fixture of a module or a session touches the user's state either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SQLINFER_HOME", str(tmp_path_factory.mktemp("shared_home")))
        yield


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's state."""
    folder = tmp_path / "home"
    monkeypatch.setenv("SQLINFER_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def echo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a model, complete and without meaning."""
    folder = tmp_path_factory.mktemp("models") / "echo"
    write_model(folder)
    return folder


def write_model(folder: Path, weight: float = 1.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + struct.pack("<f", weight)
    (folder / "model.safetensors").write_bytes(weights)


@pytest.fixture
def echo() -> EchoEngine:
    return EchoEngine()


@pytest.fixture
def registered(home: Path, echo_folder: Path) -> None:
    """The model `echo` is registered."""
    with Store(home) as store:
        store.registry.register("echo", str(echo_folder))


@pytest.fixture
def duckdb_program() -> str:
    """The official DuckDB shell."""
    program = find_program()
    if program is None:
        pytest.skip("there is no duckdb program: pip install duckdb-cli")
    return str(program)
