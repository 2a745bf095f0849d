"""`sqlinfer answers`, `jobs`, `functions` and `explain`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sqlinfer.cli.state import open_store
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


def test_answers_are_shown_and_exported_newest_first(invoke: Invoke, query: Query, asked: EchoEngine) -> None:
    exported = [json.loads(line) for line in invoke("answers", "export").stdout.splitlines()]
    assert {(e["function"], e["model"], e["answer"], e["finish_reason"]) for e in exported} == {
        (function, "echo/1", answer, "stop")
        for function, answer in (("ai_gen", "<a>"), ("ai_gen", "<b>"), ("summarize", "<c>"))
    }
    assert len({e["key"] for e in exported}) == 3
    assert exported == sorted(exported, key=lambda e: e["created"], reverse=True)
    (shown,) = json.loads(invoke("answers", "show", "--function", "summarize", "--json").stdout)
    assert shown in exported
    assert len(json.loads(invoke("answers", "show", "--limit", "2", "--json").stdout)) == 2
    assert "<c>" in invoke("answers", "show", "--model", "echo").stdout
    assert "No model 'nobody' is registered" in invoke("answers", "export", "--model", "nobody", code=1).stderr


def test_answers_of_one_function_are_cleared(invoke: Invoke, query: Query, asked: EchoEngine) -> None:
    assert invoke("answers", "clear", "--function", "ai_gen", "--yes").stdout == "2 answers are deleted.\n"
    invoke("run", query("SELECT ai_gen('a'), summarize('c')"), "--model", "echo")
    assert asked.texts[3:] == ["a"]


def test_clear_asks_first(invoke: Invoke, asked: EchoEngine, home: Path) -> None:
    result = invoke("answers", "clear", input="n\n", code=1)
    assert f"Delete all answers in {home / 'state.db'}?" in result.stderr
    assert json.loads(invoke("answers", "stats", "--json").stdout)["answers"] == 3
    assert json.loads(invoke("answers", "clear", "--json", input="y\n").stdout.splitlines()[-1]) == {
        "cleared": 3,
        "wiped": True,
    }


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


def test_jobs_that_ended_before_a_time_are_cleared_and_their_answers_stay(
    invoke: Invoke, home: Path, asked: EchoEngine
) -> None:
    log = home / "logs" / "1.log"
    log.parent.mkdir()
    log.write_text("scored")
    assert "0 jobs" in invoke("jobs", "clear", "--before", "1h", "--yes").stdout
    assert "Delete all jobs that have ended" in invoke("jobs", "clear", input="n\n", code=1).stderr
    assert log.exists()
    assert "1 job is deleted" in invoke("jobs", "clear", "--before", "2999-01-01", "--yes").stdout
    assert not log.exists()
    assert json.loads(invoke("jobs", "list", "--json").stdout) == []
    assert json.loads(invoke("answers", "stats", "--json").stdout)["answers"] == 3


def test_jobs_are_listed_by_state_time_and_model(invoke: Invoke, query: Query, asked: EchoEngine) -> None:
    def listed(*words: str) -> list[int]:
        return [job["job"] for job in json.loads(invoke("jobs", "list", *words, "--json").stdout)]

    invoke("run", query("SELECT ai_gen('boom')"), "--model", "echo", code=1)
    assert listed("--state", "failed") == [2]
    assert listed("--state", "done", "--limit", "1") == [1]
    assert (listed("--model", "echo"), listed("--model", "echo/1"), listed("--model", "ech")) == ([2, 1], [2, 1], [])
    assert (listed("--since", "1h"), listed("--since", "2999-01-01")) == ([2, 1], [])
    assert "'soon' is no date, time or age" in invoke("jobs", "list", "--since", "soon", code=2).stderr


def test_a_job_is_shown_with_start_source_and_units(invoke: Invoke, query: Query, echoing: EchoEngine) -> None:
    invoke("run", query("SELECT ai_gen('a') AS g,\n       1 AS n", "moods.sql"), "--model", "echo")
    (job,) = json.loads(invoke("jobs", "list", "--json").stdout)
    assert job["source"].endswith("moods.sql")
    shown = invoke("jobs", "show", "1").stdout
    assert "SELECT ai_gen('a') AS g,\n       1 AS n\n" in shown, "as it was written"
    assert re.search(r"started  +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n", shown)
    assert re.search(r"peak memory  +[\d.]+ [MG]B\n", shown)
    assert "1 request: 0 known, 1 generated, 0 failed" in shown
    assert "{" not in shown


def test_answers_that_end_at_max_tokens_are_counted(invoke: Invoke, query: Query) -> None:
    sql = "SELECT ai_gen('a lamp ' || i, max_tokens := 2, min_tokens := 2) FROM range(3) r(i)"
    result = invoke("run", query(sql), "--model", "sqlinfer/tiny")
    assert "3 generated, 0 failed, 3 cut off at max_tokens" in result.stderr
    assert "3 cut off at max_tokens" in invoke("jobs", "show", "1").stdout
    assert json.loads(invoke("jobs", "list", "--json").stdout)[0]["cut_off"] == 3


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
    assert (
        "function  shout(t, times := 2)\nreturns   VARCHAR[]\nhelp      Say it loud.\n"
        in invoke("functions", "list").stdout
    )


def test_explain_counts_and_asks_nothing(invoke: Invoke, query: Query) -> None:
    sql = """CREATE TABLE t AS SELECT 'text ' || range % 7 AS s FROM range(20);
             SELECT ai_gen(s, max_tokens := 5), ai_count_tokens(s) FROM t"""
    explained = json.loads(invoke("explain", query(sql), "--json").stdout)
    assert {"requests", "known", "prompt_tokens", "est_seconds"} < set(explained)
    assert (explained["rows"], explained["requests"], explained["known"]) == (20, 7, 0)
    assert explained["prompt_tokens"] > 14
    table = invoke("explain", query(sql)).stdout
    assert "ai_count_t" in table
    assert "20 rows, 7 requests: 0 known, 7 to ask with" in table
    assert json.loads(invoke("answers", "stats", "--json").stdout)["answers"] == 0


SITES = """CREATE TABLE t AS SELECT 'text ' || range % 7 AS s FROM range(20);
CREATE VIEW v AS SELECT ai_gen(s) AS g FROM t;
SELECT ai_gen(s, max_tokens := 5), ai_gen(ai_gen(s, max_tokens := 5)),
  ai_agg(s, 'sum up' ORDER BY s) OVER (PARTITION BY s), s.summarize() FROM t;
SELECT g FROM v WHERE ai_filter(g, 'good?')
"""


def test_explain_counts_the_rows_that_cannot_be_asked(invoke: Invoke, query: Query) -> None:
    sql = "SELECT ai_classify(t, l) FROM (VALUES ('a', ['x', 'y']), ('b', []), ('c', [])) v(t, l)"
    explained = json.loads(invoke("explain", query(sql), "--json").stdout)
    assert (explained["rows"], explained["requests"], explained["known"], explained["refused"]) == (3, 1, 0, 2)
    assert "2 rows would fail: ai_classify on 'b': labels is an empty list" in " ".join(
        invoke("explain", query(sql)).stdout.split()
    )


def test_explain_gives_bounds_where_a_limit_may_stop_a_query(invoke: Invoke, query: Query) -> None:
    sql = "SELECT i FROM range(20) r(i) WHERE ai_if('text ' || i, 'is it?') LIMIT 3"
    explained = json.loads(invoke("explain", query(sql), "--json").stdout)
    assert (explained["requests"], explained["avoidable"], explained["calls"][0]["to_ask"]) == (20, 17, 20)
    assert "3 to 20 to ask" in " ".join(invoke("explain", query(sql)).stdout.split())


def test_explain_tells_call_from_call(invoke: Invoke, query: Query) -> None:
    inner = "ai_gen('text ' || range, max_tokens := 5)) FROM range(3)"
    counted = invoke("run", query(f"SELECT count(DISTINCT {inner}"), "--format", "csv").stdout
    num_inside = int(counted.splitlines()[1])
    explained = json.loads(invoke("explain", query(SITES), "--json").stdout)
    calls = [
        (c["place"].rpartition(":")[2], c["call"], c["rows"], c["requests"], c["known"], c["to_ask"])
        for c in explained["calls"]
    ]
    assert calls == [
        ("2", "ai_gen(s)", 20, 7, 0, 7),
        ("3", "ai_gen(s, max_tokens := 5)", 20, 7, 3, 4),
        ("3", "ai_gen(ai_gen(s, max_tokens := 5))", 20, num_inside, 0, num_inside),  # of those that are known inside
        ("3", "ai_gen(s, max_tokens := 5)", 20, 7, 3, 0),  # the call before it asks them
        ("4", "ai_agg(s, 'sum up' ORDER BY s)", 20, 7, 0, 7),
        ("4", "s.summarize()", 20, 7, 0, 7),
        ("5", "ai_filter(g, 'good?')", 20, 0, 0, 0),
    ]
    assert explained["calls"][-1]["model"] == ""
    assert sum(call["prompt_tokens"] for call in explained["calls"]) == explained["prompt_tokens"]
    assert [model["fits"] for model in explained["models"]] == [True, True]


def test_explain_says_whether_the_model_fits(invoke: Invoke, query: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = query("SELECT ai_gen('a')")
    assert re.search(r"sqlinfer/tiny in \w+ needs [\d.]+ GB on \w+.*: it fits", invoke("explain", sql).stdout)
    monkeypatch.setattr("sqlinfer.engine.model.memory_estimate.free_memory", lambda _: 1_000_000)
    said = " ".join(invoke("explain", sql).stdout.split())
    assert "where 0.00 GB are free: it does not fit: register a smaller model" in said


def test_explain_knows_no_speed_of_writing_from_jobs_that_wrote_nothing(
    invoke: Invoke, query: Query, home: Path
) -> None:
    sql = query("SELECT ai_gen('a', max_tokens := 20)")
    (version,) = json.loads(invoke("explain", sql, "--json").stdout)["models"]
    with open_store() as store:
        fingerprint = store.registry.get(version["model"]).fingerprint
        store.jobs.record_speed(fingerprint, 1000, 0, 1.0)
    explained = json.loads(invoke("explain", sql, "--json").stdout)
    assert (explained["measured"], explained["est_seconds"]) == (False, 1.0)
    with open_store() as store:
        store.jobs.record_speed(fingerprint, 1000, 100, 1.0)
    explained = json.loads(invoke("explain", sql, "--json").stdout)
    assert (explained["measured"], explained["est_seconds"]) == (True, 0.2)
