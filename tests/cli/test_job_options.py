"""The settings of a job on the command line, and asking failed requests again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sqlinfer.config.job_settings import NAMES
from sqlinfer.store import Store
from sqlinfer.types import Completion, Request, Text
from tests.cli.conftest import Invoke, last_json
from tests.conftest import EchoEngine

Query = Callable[..., str]
DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
ROWS = "SELECT ai_gen(x) FROM (VALUES ('a'), ('boom'), ('b')) r(x)"


def test_every_setting_is_an_option_and_in_the_docs(invoke: Invoke) -> None:
    shown, docs = invoke("run", "--help").stdout, DOCS.read_text(encoding="utf-8")
    for name in NAMES:
        option = "--" + name.replace("_", "-")
        assert option in shown
        assert f"| `{option}" in docs
        assert f"| `{name}` |" in docs


def test_a_failed_run_names_the_command_that_asks_only_the_failed(
    invoke: Invoke, query: Query, echoing: EchoEngine
) -> None:
    file = query(ROWS)
    failed = invoke("run", file, "--model", "echo", code=1)
    assert f"sqlinfer run {file} --retry-failed" in failed.stderr
    echoing.asked.clear()
    invoke("run", file, "--model", "echo", "--retry-failed", code=1)
    assert echoing.texts == ["boom"]


def test_retry_failed_asks_nothing_that_never_failed_and_writes_nothing_then(
    invoke: Invoke, query: Query, echoing: EchoEngine
) -> None:
    invoke("run", query(ROWS), "--model", "echo", code=1)
    echoing.asked.clear()
    more = query(ROWS.replace("('b')", "('b'), ('new')").replace("ai_gen(x)", "ai_gen(x, on_error := 'null')"))
    result = invoke("run", more, "--model", "echo", "--retry-failed", code=1)
    assert echoing.texts == ["boom"]
    assert "1 others have no answer yet" in result.stderr
    assert result.stdout == ""


NUMBER = """from sqlinfer import Request


def number(t: str) -> Request:
    'Read a number.'
    return Request(t)


def read(answer: str) -> int:
    return int(answer)
"""


def test_retry_failed_asks_again_what_a_function_could_not_read(
    invoke: Invoke, query: Query, registered: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"a": "1", "b": "many", "boom": ""}
    engine = EchoEngine(lambda request: answers[request.text])
    monkeypatch.setattr("sqlinfer.inference.runtime.open_engine", lambda version: engine)
    Path("udfs").mkdir()
    Path("udfs/number.py").write_text(NUMBER)
    file = query("SELECT number(x) AS n FROM (VALUES ('a'), ('b')) r(x) ORDER BY n")
    said = invoke("run", file, "--model", "echo", code=1).stderr
    assert "number.py cannot use the answer 'many': ValueError" in said
    assert "cannot use" in invoke("run", file, "--model", "echo", code=1).stderr
    assert engine.texts == ["a", "b"]
    answers["b"] = "2"
    result = invoke("run", file, "--model", "echo", "--retry-failed", "--format", "csv")
    assert (engine.texts, result.stdout) == (["a", "b", "b"], "n\n1\n2\n")
    invoke("run", file, "--model", "echo")
    assert engine.texts == ["a", "b", "b"]


def test_retry_failed_keeps_what_was_answered_since(
    invoke: Invoke, query: Query, registered: None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EchoEngine()
    monkeypatch.setattr("sqlinfer.inference.runtime.open_engine", lambda version: engine)
    file = query("SELECT ai_gen('boom')")
    invoke("run", file, "--model", "echo", code=1)
    with Store(home) as store:
        (failed,) = store.jobs.failed_keys()
        time.sleep(1)  # the store notes whole seconds
        store.answers.put(Completion(Request("", key=failed), Text("fine")), fingerprint="f", function="ai_gen")
    assert "fine" in invoke("run", file, "--model", "echo", "--retry-failed").stdout
    assert engine.texts == ["boom"]


def test_a_budget_is_refused_before_and_the_run_goes_on_after_it_is_raised(
    invoke: Invoke, query: Query, echoing: EchoEngine, home: Path
) -> None:
    file = query("SELECT ai_gen('x' || i) FROM range(10) r(i)")
    refused = invoke("run", file, "--model", "echo", "--max-requests", "9", code=1)
    assert "about to need 10 requests, and max_requests is 9" in refused.stderr
    assert echoing.asked == []
    with Store(home) as store:
        assert store.jobs.list()[0].state == "stopped"
        assert store.jobs.list()[0].settings["max_requests"] == 9
    counts = last_json(invoke("run", file, "--model", "echo", "--max-requests", "10", "--json"))
    assert counts["generated"] == 10


def test_the_command_line_wins_over_the_project_file_and_sql_over_both(
    invoke: Invoke, query: Query, echoing: EchoEngine
) -> None:
    Path("sqlinfer.yml").write_text("settings: {max_requests: 1}\n")
    rows = "SELECT ai_gen('x' || i) FROM range(3) r(i)"
    assert "max_requests is 1" in invoke("run", query(rows), "--model", "echo", code=1).stderr
    told = invoke("run", query(rows), "--model", "echo", "--max-requests", "2", code=1)
    assert "max_requests is 2" in told.stderr
    invoke("run", query(f"SET sqlinfer_max_requests = 3; {rows}"), "--model", "echo", "--max-requests", "2")
    assert len(echoing.asked) == 3


def test_a_wrong_setting_stops_the_run_before_it_begins(invoke: Invoke, query: Query, echoing: EchoEngine) -> None:
    assert "timeout must be a number" in invoke("run", query(ROWS), "--timeout", "soon", code=1).stderr
    Path("sqlinfer.yml").write_text("settings: {max_retrys: 1}\n")
    result = invoke("run", query(ROWS), code=1)
    assert "there is no setting max_retrys. Did you mean max_retries" in result.stderr


def test_a_model_is_registered_with_settings(invoke: Invoke, echo_folder: Path, home: Path) -> None:
    invoke("models", "register", "slow", str(echo_folder), "--set", "timeout=60", "--set", "max_tokens=5")
    with Store(home) as store:
        model = store.registry.get("slow")
        assert (model.settings, model.parameters.max_tokens) == ({"timeout": 60.0}, 5)
    invoke("models", "register", "slow", str(echo_folder), "--set", "max_retries=1", "--set", "max_tokens=5")
    with Store(home) as store:
        assert (store.registry.get("slow").version, store.registry.get("slow").settings) == (1, {"max_retries": 1})
