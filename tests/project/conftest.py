"""A project's folder, and commands in it on the echo model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from sqlinfer.cli import main
from tests.conftest import EchoEngine

Invoke = Callable[..., Result]
Write = Callable[[Mapping[str, str]], None]
Rows = Callable[[str], list[tuple[Any, ...]]]

REVIEWS = "id,review\n1,angry lamp\n2,calm chair\n3,angry desk\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, where commands run."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "sqlinfer.yml").write_text("name: shop\nmodel: echo\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "160")
    return folder


@pytest.fixture
def write(root: Path) -> Write:
    """Write files of the project by path."""

    def each(files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    return each


@pytest.fixture
def echoing(registered: None, echo: EchoEngine, monkeypatch: pytest.MonkeyPatch) -> EchoEngine:
    """Every engine is the echo engine; the model `echo` is registered."""
    monkeypatch.setattr("sqlinfer.inference.runtime.open_engine", lambda version: echo)
    return echo


@pytest.fixture
def invoke(root: Path, echoing: EchoEngine) -> Invoke:
    """Run a command line in the project; its exit code must be as expected."""

    def run(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, list(words))
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    return run


@pytest.fixture
def rows(root: Path) -> Rows:
    """What a query on the project's database gives, to DuckDB alone."""

    def fetch(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(root / "shop.duckdb")) as connection:
            return connection.execute(sql).fetchall()

    return fetch
