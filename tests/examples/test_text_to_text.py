"""The walk-through of examples/text_to_text: JSON Lines with parameters of their own, matched by id."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

import sqlinfer
from tests.cli.conftest import Invoke, last_json

EXAMPLE = Path(__file__).parents[2] / "examples" / "text_to_text"


@pytest.fixture
def flan(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """The command line in the example's folder, with its model registered."""
    shutil.copytree(EXAMPLE, tmp_path / "example")
    monkeypatch.chdir(tmp_path / "example")
    runpy.run_path("make_model.py")["make_model"](Path("model"))
    invoke("models", "register", "flan", "./model")
    return invoke


def predictions() -> dict[int, list[str]]:
    lines = Path("predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return {record["id"]: record["generated_texts"] for record in map(json.loads, lines)}


def test_records_have_their_own_parameters_or_those_of_the_job(flan: Invoke) -> None:
    parameters = {"max_length": 20, "num_return_sequences": 2}
    words = ("run", "predict.sql", "--set", f"hyper_params={json.dumps(parameters)}", "--json")
    result = flan(*words)
    counts = last_json(result)
    predicted = predictions()
    assert {key: len(texts) for key, texts in predicted.items()} == {1: 2, 2: 2, 3: 3, 4: 2}
    assert predicted[1][0] == predicted[1][1]
    assert len(set(predicted[3])) == 3
    assert (counts["generated"], counts["failed"]) == (9, 0)
    assert "│       4 │" in result.stdout
    with sqlinfer.connect() as con:
        tokens = con.execute("SELECT sum(completion_tokens) FROM sqlinfer_usage()").fetchone()
    assert tokens[0] <= 2 * 19 + 2 * 7 + 3 * 19 + 2 * 11
    flan("run", "predict.sql", "--set", 'hyper_params={"max_length": 20}', "--output-action", "replace")
    assert {key: len(texts) for key, texts in predictions().items()} == {1: 1, 2: 1, 3: 3, 4: 1}


def test_a_few_records_are_one_request(flan: Invoke) -> None:
    rows: list[dict[str, Any]] = [
        json.loads(line)
        for line in flan("run", "request.sql", "--format", "json").stdout.splitlines()
        if line.startswith("{")
    ]
    assert [row["id"] for row in rows] == [1, 2]
    with sqlinfer.connect(model="flan") as con:
        texts = ["Translate to German: The lamp is bright.", "Answer the question: Is it Monday?"]
        rows_of_lists = "(SELECT unnest(?) AS x, unnest(?) AS n)"
        sql = f"SELECT ai_query('flan', x, modelParameters := {{max_tokens: n}}) FROM {rows_of_lists}"
        answers = con.execute(sql, [texts, [8, 4]]).fetchall()
        assert con.runtime.store.jobs.list()[0].generated == 0
    assert [answer for (answer,) in answers] == [row["generated_text"] for row in rows]
