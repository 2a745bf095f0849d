"""The walk-through of examples/batch_deployment: a summarizer's cloud deployment, from its YAML to its file."""

from __future__ import annotations

import csv
import runpy
import shutil
from pathlib import Path

import pytest

import sqlinfer
from tests.cli.conftest import Invoke, last_json

EXAMPLE = Path(__file__).parents[2] / "examples" / "batch_deployment"
BILLS = Path(__file__).parents[3] / "shared" / "data" / "billsum" / "billsum-0.csv"
NUM_BILLS = 6


@pytest.mark.skipif(not BILLS.is_file(), reason=f"no data in {BILLS}")
def test_a_deployment_summarizes_a_folder_of_long_texts_into_one_file(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "example")
    monkeypatch.chdir(tmp_path / "example")
    runpy.run_path("make_model.py")["make_model"](Path("model"))
    titles = _write_texts(Path("texts"))

    registered = last_json(invoke("models", "register", "--from", "deployment.yml", "--json"))
    assert (registered["name"], registered["aliases"]) == ("text-summarization", {"bart": 1})
    assert set(registered["unused"]) == {"environment", "compute", "resources", "output_action", "output_file_name"}
    invoke("models", "deploy", "text-summarization", "1")

    words = ("run", "summarize.sql", "--set", "texts=texts/*.csv", "--json")
    counts = last_json(invoke(*words))
    assert (counts["generated"], counts["failed"]) == (NUM_BILLS, 0)
    with Path("predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["title"] for row in rows] == titles
    assert {row["file"] for row in rows} == {"0.csv", "1.csv"}
    assert all(row["prediction"] for row in rows)

    assert "predictions.csv exists already" in invoke(*words, code=1).stderr
    again = last_json(invoke(*words, "--output-action", "replace"))
    assert (again["generated"], again["known"]) == (0, NUM_BILLS)
    with sqlinfer.connect() as con:
        settings = con.runtime.store.registry.get("text-summarization@bart").settings
        assert (settings["timeout"], settings["max_retries"], settings["error_threshold"]) == (3000, 1, -1)
        written = con.execute("SELECT unnest(written, recursive := true) FROM sqlinfer_jobs() ORDER BY job").fetchall()
    assert written == [("predictions.csv", ["text-summarization/1"])] * 2


def _write_texts(folder: Path) -> list[str]:
    """Some bills in two files; their titles in order."""
    csv.field_size_limit(10**9)
    with BILLS.open(encoding="utf-8") as file:
        bills = [row for row, _ in zip(csv.DictReader(file), range(NUM_BILLS), strict=False)]
    folder.mkdir()
    for number in range(2):
        with (folder / f"{number}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["title", "text"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(bills[number * NUM_BILLS // 2 : (number + 1) * NUM_BILLS // 2])
    return [bill["title"] for bill in bills]
