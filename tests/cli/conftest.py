"""Commands run in this process, on the echo model or on the built-in ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sqlinfer.cli import main
from tests.conftest import EchoEngine

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command line in an empty folder; its exit code must be as expected."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: str, code: int = 0, **kwargs: Any) -> Result:
        result = CliRunner().invoke(main, list(words), **kwargs)
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    return run


@pytest.fixture
def echoing(registered: None, echo: EchoEngine, monkeypatch: pytest.MonkeyPatch) -> EchoEngine:
    """Every engine is the echo engine; the model `echo` is registered."""
    monkeypatch.setattr("sqlinfer.inference.runtime.open_engine", lambda version: echo)
    return echo


@pytest.fixture
def query(tmp_path: Path) -> Callable[[str], str]:
    """Write SQL into a file; its path."""

    def write(sql: str, name: str = "query.sql") -> str:
        path = tmp_path / name
        path.write_text(sql, encoding="utf-8")
        return str(path)

    return write


def last_json(result: Result) -> Any:
    """The last line of stdout as JSON."""
    return json.loads(result.stdout.strip().splitlines()[-1])
