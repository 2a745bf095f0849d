"""`sqlinfer answers`, `jobs`, `functions` and `explain`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.conftest import EchoEngine, write_model

Query = Callable[..., str]


@pytest.fixture
def asked(invoke: Invoke, query: Query, echoing: EchoEngine) -> EchoEngine:
    """One job has asked three questions of two functions."""
    invoke("run", query("SELECT ai_gen('a'), ai_gen('b'), summarize('c')", "asked.sql"), "--model", "echo")
    return echoing


def test_answers_are_counted_by_function_and_model(invoke: Invoke, asked: EchoEngine) -> None:
    stats = json.loads(invoke("answers", "stats", "--json").stdout)
    assert (stats["answers"], stats["functions"], stats["models"]) == (3, {"ai_gen": 2, "summarize": 1}, {"echo/1": 3})
    shown = invoke("answers", "stats").stdout
    assert "3 answers" in shown
    assert "echo/1" in shown


def test_answers_of_one_function_are_cleared(invoke: Invoke, query: Query, asked: EchoEngine) -> None:
    assert invoke("answers", "clear", "--function", "ai_gen", "--yes").stdout == "2 answers are deleted.\n"
    invoke("run", query("SELECT ai_gen('a'), summarize('c')"), "--model", "echo")
    assert asked.texts[3:] == ["a"]


def test_clear_asks_first(invoke: Invoke, asked: EchoEngine, home: Path) -> None:
    result = invoke("answers", "clear", input="n\n", code=1)
    assert f"Delete all answers in {home / 'state.db'}?" in result.stderr
    assert json.loads(invoke("answers", "stats", "--json").stdout)["answers"] == 3
    assert json.loads(invoke("answers", "clear", "--json", input="y\n").stdout.splitlines()[-1]) == {"cleared": 3}


def test_answers_of_one_model_are_cleared(invoke: Invoke, asked: EchoEngine, echo_folder: Path) -> None:
    write_model(Path("other"), 2.0)
    invoke("models", "register", "echo", "./other")
    assert "0 answers" in invoke("answers", "clear", "--model", "echo", "--yes").stdout
    assert "0 answers" in invoke("answers", "clear", "--model", "./other", "--yes").stdout
    assert "echo has no version 9" in invoke("answers", "clear", "--model", "echo/9", "--yes", code=1).stderr
    assert "3 answers" in invoke("answers", "clear", "--model", "echo/1", "--yes").stdout


def test_jobs_tell_what_ran(invoke: Invoke, query: Query, asked: EchoEngine) -> None:
    invoke("run", query("SELECT ai_gen(x) FROM (VALUES ('boom'), ('a')) r(x)"), "--model", "echo", code=1)
    jobs = json.loads(invoke("jobs", "list", "--json").stdout)
    assert [(job["job"], job["state"], job["known"], job["generated"], job["failed"]) for job in jobs] == [
        (2, "failed", 1, 0, 1),
        (1, "done", 0, 3, 0),
    ]
    assert len(json.loads(invoke("jobs", "list", "--limit", "1", "--json").stdout)) == 1
    job = json.loads(invoke("jobs", "show", "2", "--json").stdout)
    assert job["statement"].startswith("SELECT ai_gen(x)")
    assert job["started"].endswith("+00:00")
    assert job["models"] == ["echo/1"]
    assert "failed" in invoke("jobs", "show", "2").stdout
    assert "boom" in invoke("jobs", "errors", "2").stdout
    assert "SELECT ai_gen(x)" in invoke("jobs", "list").stdout


def test_functions_are_listed_with_the_users_own(invoke: Invoke) -> None:
    Path("udfs").mkdir()
    source = (
        "from sqlinfer import Request\n\n\ndef shout(t: str, times: int = 2) -> Request:\n"
        "    'Say it loud.'\n    return Request(t)\n\n\ndef read(answer: str) -> list[str]:\n    return [answer]\n"
    )
    Path("udfs/shout.py").write_text(source)
    listed = {fact["name"]: fact for fact in json.loads(invoke("functions", "list", "--json").stdout)}
    assert {"ai_query", "ai_gen", "ai_complete", "summarize", "ai_count_tokens"} < set(listed)
    assert listed["summarize"]["aliases"] == ["ai_summarize"]
    assert listed["summarize"]["built_in"]
    assert listed["shout"] == {
        "name": "shout",
        "aliases": [],
        "signature": "shout(t, times := 2)",
        "returns": "VARCHAR[]",
        "help": "Say it loud.",
        "built_in": False,
        "path": str(Path.cwd() / "udfs" / "shout.py"),
    }
    assert "shout(t, times := 2)" in invoke("functions", "list").stdout


def test_explain_counts_and_asks_nothing(invoke: Invoke, query: Query) -> None:
    sql = """CREATE TABLE t AS SELECT 'text ' || range % 7 AS s FROM range(20);
             SELECT ai_gen(s, max_tokens := 5), ai_count_tokens(s) FROM t"""
    explained = json.loads(invoke("explain", query(sql), "--json").stdout)
    assert {"requests", "known", "prompt_tokens", "est_seconds"} < set(explained)
    assert (explained["rows"], explained["requests"], explained["known"]) == (20, 14, 0)
    assert explained["prompt_tokens"] > 14
    table = invoke("explain", query(sql)).stdout
    assert "ai_count_tokens" in table
    assert "20 rows, 14 requests: 0 known, 14 to ask with" in table
    assert json.loads(invoke("answers", "stats", "--json").stdout)["answers"] == 0
