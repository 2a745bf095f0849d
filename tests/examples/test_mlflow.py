"""The walk-through of examples/mlflow: logged, found by its run, registered, its champion used on a table."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.cli.conftest import Invoke, last_json
from tests.mlflow_server import client, server

__all__ = ["client", "server"]
EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_logged_champion_summarizes_a_table_and_answers_prompts(
    invoke: Invoke, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:

    example = runpy.run_path(str(EXAMPLES / "mlflow" / "log_summarizer.py"))
    example["log_model"]()
    run_id = example["register_best"]()
    (facts,) = last_json(invoke("models", "import", "summarizer", "--json"))
    assert (facts["source"], facts["task"], facts["aliases"]) == ("models:/summarizer/1", "summarize", {"champion": 1})
    assert facts["parameters"] == {"max_tokens": 24, "num_beams": 2}
    assert (facts["tags"], facts["description"]) == ({"rougeL": "0.41", "team": "news"}, "One sentence for each review")

    db = ("--db", "reviews.duckdb", "--set", f"reviews={EXAMPLES / 'data' / 'reviews.csv'}")
    counts = last_json(invoke("run", str(EXAMPLES / "mlflow" / "summarize.sql"), *db, "--mlflow", "--json"))
    assert (counts["rows"], counts["failed"]) == (12, 0)
    with duckdb.connect("reviews.duckdb") as con:
        assert con.execute("SELECT count(*), min(length(summary)) > 0 FROM summaries").fetchall() == [(12, True)]

    (job,) = client.search_runs(["0"], "tags.`sqlinfer.models` = 'summarizer/1'")
    assert (job.data.metrics["rows"], job.data.params["summarizer/1.max_tokens"]) == (12, "24")
    assert json.loads(job.data.tags["sqlinfer.written"]) == {"summaries": ["summarizer/1"]}
    (used,) = client.get_run(job.info.run_id).inputs.model_inputs
    assert client.get_model_version("summarizer", "1").source == f"models:/{used.model_id}"
    assert client.get_logged_model(used.model_id).source_run_id == run_id

    answers = invoke("run", str(EXAMPLES / "mlflow" / "ask.sql"), *db, "--format", "json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in answers] == [1, 2, 3]
    assert all(json.loads(line)["answer"] for line in answers)
