"""The example project and the one that init writes build as they are, on the built-in models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from sqlinfer.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.stdout


def test_the_example_builds_and_a_second_build_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(EXAMPLES / "data", tmp_path / "data")
    shutil.copytree(EXAMPLES / "project", tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    told = json.loads(run("explain", "--json"))
    results = json.loads(run("build", "--json"))
    assert {result["state"] for result in results} == {"done"}
    costs = {node["name"]: node["requests"] for node in told["nodes"]}
    assert set(costs) == {"moods", "angry_tickets"}
    with duckdb.connect("shop.duckdb", read_only=True) as connection:
        assert connection.sql("SELECT count(*), count(mood) FROM moods").fetchall() == [(40, 40)]
        assert connection.sql("SELECT sum(texts) FROM report").fetchall()[0][0] >= 40
    again = {result["name"]: result["job_id"] for result in json.loads(run("build", "--json"))}
    shown = json.loads(run("jobs", "show", str(again["moods"]), "--json"))
    assert (shown["rows"], shown["requests"]) == (0, 0)
    shown = json.loads(run("jobs", "show", str(again["angry_tickets"]), "--json"))
    assert shown["generated"] == 0 < shown["known"]
    run("docs")
    assert Path("docs.html").stat().st_size > 10_000


def test_what_init_writes_builds_and_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = run("init", "shop").splitlines()
    assert "shop/.gitignore" in written
    assert "shop/sqlinfer.yml" in written
    run("init", "shop", code=1)
    monkeypatch.chdir("shop")
    assert {result["state"] for result in json.loads(run("build", "--json"))} == {"done"}
    with duckdb.connect("shop.duckdb", read_only=True) as connection:
        assert connection.sql("SELECT sum(reviews) FROM by_mood").fetchall() == [(4,)]
