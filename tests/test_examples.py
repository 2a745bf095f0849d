"""Every file of examples/sql runs on the built-in models; its answers are compared with the true labels.

Those that are named after a function run where docs/functions.md is checked.
"""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner
from rouge_score.rouge_scorer import RougeScorer

from sqlinfer.cli import main
from sqlinfer.functions import load_functions

ROOT = Path(__file__).parents[1]
DATA = ROOT / "examples" / "data"
ALL = sorted((ROOT / "examples" / "sql").glob("*.sql"))
FILES = [word for name in ("tickets", "reviews", "bills") for word in ("--set", f"{name}={DATA / name}.csv")]
TRUE = {
    "quickstart": ("mood || ' ' || concern, 'angry ' || told.kind", "angry", "tickets", 0.95),
    "classify": ("t.sentiment, told.sentiment", "classified", "reviews", 0.95),
    "filter": ("contains(coalesce(criticised, ''), 'delivery'), review IS NOT NULL", "complaints", "reviews", 0.95),
    "extract": ("[t.product, t.price, t.city], [told.product, told.price, told.city]", "extracted", "reviews", 0.95),
    "nested": ("t.sentiment, told.sentiment", "judged", "reviews", 0.75),
    "update": ("concern, told.kind", "tickets", "tickets", 0.95),
}
"""Of each example: the true and the told value, the table that holds what was told, the file of labels, and the least
share of rows that are right, a little below what the cards of the models say."""

SUMMARIES = {"summarize": ("summary", "summaries", "reviews"), "incremental": ("gist", "gists", "tickets")}
"""Of each example that summarizes: the column, the table that holds it, the file of labels."""

LEAST_ROUGE = 0.75
EXAMPLES = [path for path in ALL if path.stem in {*TRUE, *SUMMARIES} or path.stem not in load_functions()]


def run(path: Path, cwd: Path, *words: str) -> tuple[str, dict[str, Any]]:
    """Run a file as the command line does, in this process: its models are loaded once for all files."""
    with chdir(cwd):
        result = CliRunner().invoke(main, ["run", str(path), *words, "--json"])
    assert result.exit_code == 0, result.stderr
    *rows, last = result.stdout.splitlines()
    return "\n".join(rows), json.loads(last)


def pairs(database: Path, values: str, table: str, labels: str, how: str = "") -> list[tuple[Any, Any]]:
    """What is true and what was told, of each row; how: LEFT keeps the rows of which nothing was told."""
    file = f"read_csv('{DATA / labels}_labels.csv', all_varchar = true)"
    with duckdb.connect(str(database)) as connection:
        return connection.sql(
            f"SELECT {values} FROM {file} AS t {how} JOIN {table} AS told ON t.id::INT = told.id WHERE t.id::INT <= 400"
        ).fetchall()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_answers_right_and_a_second_run_asks_nothing(path: Path, tmp_path: Path) -> None:
    database = tmp_path / "x.duckdb"
    rows, counts = run(path, ROOT, "--db", str(database))
    assert rows.startswith("┌")
    assert counts["known"] == counts["failed"] == 0
    assert counts["generated"] > 0
    if path.stem in TRUE:
        values, table, labels, least = TRUE[path.stem]
        found = pairs(database, values, table, labels, "LEFT" if path.stem == "filter" else "")
        assert sum(true == told for true, told in found) >= least * len(found) > 0
    if path.stem in SUMMARIES:
        column, table, labels = SUMMARIES[path.stem]
        scorer = RougeScorer(["rougeL"])
        found = pairs(database, f"t.summary, told.{column}", table, labels)
        scores = [scorer.score(true, told)["rougeL"].fmeasure for true, told in found]
        assert sum(scores) >= LEAST_ROUGE * len(scores) > 0
    rows_elsewhere, counts = run(path, tmp_path, "--db", str(database), *FILES)
    assert counts["generated"] == 0
    assert rows_elsewhere == rows


def test_every_example_says_what_it_shows() -> None:
    assert {*TRUE, *SUMMARIES} <= {path.stem for path in ALL}
    assert all(path.read_text(encoding="utf-8").startswith("-- ") for path in ALL)
