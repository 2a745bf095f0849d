"""Jobs as runs of MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sqlinfer.cli import main
from tests.conftest import EchoEngine


@pytest.fixture
def echoing(registered: None, echo: EchoEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EchoEngine:
    """Every engine is the echo engine; the model `echo` is registered."""
    monkeypatch.setattr("sqlinfer.inference.runtime.open_engine", lambda version: echo)
    monkeypatch.chdir(tmp_path)
    return echo


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == code, result.output
    return result.stderr


def last_run(client: Any, experiment: str = "Default") -> Any:
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=1)
    return runs[0]


def test_a_job_is_a_run_with_its_counts_settings_and_models(client: Any, echoing: EchoEngine) -> None:
    sql = "CREATE TABLE t AS SELECT ai_gen(x) g FROM (VALUES ('a'), ('b'), ('a')) r(x)"
    run("run", "-c", sql, "--model", "echo", "--mlflow", "--max-retries", "1")
    recorded = last_run(client)
    counts = {"rows": 3, "requests": 2, "known": 0, "generated": 2, "failed": 0}
    tokens = {"prompt_tokens": 2, "completion_tokens": 2, "cost": 0}
    assert {name: recorded.data.metrics[name] for name in (*counts, *tokens)} == counts | tokens
    assert recorded.data.metrics["seconds"] > 0
    assert recorded.data.params["max_retries"] == "1"
    assert recorded.data.tags["sqlinfer.models"] == "echo/1"
    assert recorded.data.tags["sqlinfer.statement"] == sql
    assert recorded.info.status == "FINISHED"
    assert recorded.info.end_time >= recorded.info.start_time


def test_a_failed_job_is_a_failed_run_with_its_error(client: Any, echoing: EchoEngine) -> None:
    run("run", "-c", "SELECT ai_gen('boom')", "--model", "echo", "--mlflow", code=1)
    recorded = last_run(client)
    assert (recorded.info.status, recorded.data.metrics["failed"]) == ("FAILED", 1)
    assert "the model gave no answer" in recorded.data.tags["sqlinfer.error"]


def test_a_key_of_the_project_file_records_every_node(client: Any, echoing: EchoEngine, tmp_path: Path) -> None:
    (tmp_path / "sqlinfer.yml").write_text("name: shop\nmodel: echo\nmlflow:\n  experiment: shop\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "moods.sql").write_text("SELECT ai_gen('a') AS mood")
    run("build")
    assert last_run(client, "shop").info.run_name == "moods"
    run("run", "-c", "SELECT ai_gen('b')")
    assert last_run(client, "shop").data.tags["sqlinfer.statement"] == "SELECT ai_gen('b')"
    run("run", "-c", "SELECT ai_gen('c')", "--no-mlflow")
    assert last_run(client, "shop").data.tags["sqlinfer.statement"] == "SELECT ai_gen('b')"


def test_a_server_that_is_down_costs_a_warning_and_never_the_job(
    echoing: EchoEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run("run", "-c", "SELECT ai_gen('a')", "--model", "echo", "--mlflow")
    assert "job 1 is not recorded in MLflow: " in caplog.text


def test_a_server_that_is_down_is_tried_once_in_a_build(
    echoing: EchoEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "sqlinfer.yml").write_text("name: shop\nmodel: echo\nmlflow:\n  tracking_uri: http://127.0.0.1:9\n")
    (tmp_path / "models").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "models" / f"{name}.sql").write_text(f"SELECT ai_gen('{name}') AS mood")
    run("build")
    assert caplog.text.count("is not recorded in MLflow") == 1


def test_nothing_but_rows_is_printed(client: Any, echoing: EchoEngine) -> None:
    words = ["run", "-c", "SELECT ai_gen('q') AS g", "--model", "echo", "--mlflow", "--format", "csv"]
    assert CliRunner().invoke(main, words).stdout == "g\n<q>\n"


def test_secrets_of_a_statement_are_not_recorded(client: Any, echoing: EchoEngine) -> None:
    run("run", "-c", "SELECT ai_gen('x password=hunter2hunter2')", "--model", "echo", "--mlflow")
    recorded = last_run(client)
    assert "hunter2" not in str(recorded.to_dictionary())
