"""`sqlinfer preview` asks a few requests of each call and shows what the model reads and writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sqlinfer.backends import TRANSFORMERS
from tests.cli.conftest import Invoke
from tests.conftest import EchoEngine

Query = Callable[..., str]
TABLE = "CREATE TABLE t AS SELECT 'text ' || range AS s FROM range(30); "


@pytest.fixture
def shown(invoke: Invoke, query: Query, echoing: EchoEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    backend = replace(TRANSFORMERS, read_prompt=lambda _, request: f"read {request.text}")
    monkeypatch.setattr("sqlinfer.backends.BACKENDS", {"": backend})

    def preview(sql: str, *words: str) -> list[dict[str, Any]]:
        return list(json.loads(invoke("preview", query(TABLE + sql), "--model", "echo", "--json", *words).stdout))

    return preview


def test_so_many_requests_of_each_call_are_asked(shown: Callable[..., Any], echoing: EchoEngine) -> None:
    found = shown("SELECT ai_gen(s), ai_gen(s || '!') FROM t", "--rows", "2")
    assert [each["call"] for each in found] == ["ai_gen(s)"] * 2 + ["ai_gen(s || '!')"] * 2
    assert sorted(each["prompt"] for each in found) == sorted(f"read {text}" for text in echoing.texts)
    assert sorted(each["answer"] for each in found) == sorted(f"<{text}>" for text in echoing.texts)
    assert [each["value"] for each in found] == [each["answer"] for each in found]


def test_calls_behind_calls_and_conditions_are_shown(shown: Callable[..., Any], echoing: EchoEngine) -> None:
    found = shown("SELECT ai_gen(ai_gen(s)) FROM t WHERE ai_filter(s, 'Does it say text 1?')", "--rows", "3")
    calls = [each["call"].partition("(")[0] for each in found]
    assert calls.count("ai_filter") == 3
    assert len(echoing.asked) == len(found)
    assert {each["value"] for each in found if each["call"].startswith("ai_filter")} <= {True, False}


def test_steps_and_failures_are_shown(shown: Callable[..., Any]) -> None:
    words = " ".join(["long"] * 30)
    parts = shown(f"SELECT summarize('{words}', overflow := 'hierarchical')", "--rows", "1")
    assert len(parts) > 2
    assert len({str(each["value"]) for each in parts}) == 1
    (failed,) = shown("SELECT ai_gen('boom')")
    assert (failed["answer"], failed["value"], failed["error"]) == (None, None, "the model gave no answer")


def test_a_preview_writes_nothing_and_its_answers_are_known_to_a_run(
    invoke: Invoke, query: Query, shown: Callable[..., Any], echoing: EchoEngine, tmp_path: Path
) -> None:
    sql = "CREATE TABLE made AS SELECT ai_gen(s) AS g FROM t"
    shown(sql, "--db", str(tmp_path / "x.duckdb"), "--rows", "4")
    ran = invoke("run", query(TABLE + sql), "--model", "echo", "--db", str(tmp_path / "x.duckdb"), "--json")
    counts = json.loads(ran.stdout.splitlines()[-1])
    assert (counts["known"], counts["generated"]) == (4, 26)


def test_the_job_of_a_preview_counts_what_it_computed(invoke: Invoke, shown: Callable[..., Any]) -> None:
    for known in (0, 4):
        shown("SELECT ai_gen(s) FROM t", "--rows", "4")
        job = json.loads(invoke("jobs", "list", "--limit", "1", "--json").stdout)[0]
        assert (job["source"], job["known"], job["generated"]) == ("preview", known, 4)


def test_the_prompt_is_what_the_model_reads(invoke: Invoke, query: Query) -> None:
    sql = query("SELECT ai_sentiment('I like it.')")
    (each,) = json.loads(invoke("preview", sql, "--json").stdout)
    assert each["prompt"].endswith("I like it.<|end|><|assistant|>")
    assert set(json.loads(each["answer"])) == {"positive", "negative", "neutral", "mixed"}
    assert each["value"] in json.loads(each["answer"])
    assert "ai_sentiment(" in invoke("preview", sql).stdout
