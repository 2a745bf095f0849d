"""Every file of examples/sql runs on the built-in models; its answers are compared with the true labels.

Those that are named after a function run where docs/functions.md is checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sqlinfer.functions import load_functions

ROOT = Path(__file__).parents[1]
DATA = ROOT / "examples" / "data"
ALL = sorted((ROOT / "examples" / "sql").glob("*.sql"))
FILES = [word for name in ("tickets", "reviews", "bills") for word in ("--set", f"{name}={DATA / name}.csv")]
TICKETS = f"'{DATA / 'tickets_labels.csv'}'"
REVIEWS = f"'{DATA / 'reviews_labels.csv'}'"
RIGHT = {
    "quickstart": f"SELECT avg((mood = 'angry' AND angry.kind = concern)::INT) FROM angry JOIN {TICKETS} USING (id)",
    "classify": f"""
        SELECT least(
            avg((classified.sentiment = labels.sentiment)::INT),
            avg((classified.product = labels.kind)::INT)
                FILTER (labels.kind IN ('kettle', 'lamp', 'radio', 'phone'))
        ) FROM classified JOIN {REVIEWS} AS labels USING (id)""",
    "filter": f"""
        SELECT avg(((complaints.id IS NOT NULL) = contains(coalesce(criticised, ''), 'delivery'))::INT)
        FROM {REVIEWS} AS labels LEFT JOIN complaints USING (id) WHERE labels.id <= 400""",
    "extract": f"""
        SELECT least(
            avg((extracted.product = labels.product)::INT),
            avg((extracted.price::DOUBLE IS NOT DISTINCT FROM labels.price::DOUBLE)::INT),
            avg((extracted.city IS NOT DISTINCT FROM labels.city)::INT),
            avg((extracted."order number" IS NOT DISTINCT FROM labels.order)::INT)
        ) FROM extracted JOIN {REVIEWS} AS labels USING (id)""",
    "summarize": f"SELECT avg((told.summary = given.summary)::INT) FROM summaries told JOIN {REVIEWS} given USING (id)",
    "nested": f"SELECT avg((judged.sentiment = labels.sentiment)::INT) FROM judged JOIN {REVIEWS} AS labels USING (id)",
    "incremental": f"SELECT avg((gist = summary)::INT) FROM gists JOIN {TICKETS} USING (id)",
    "update": f"SELECT avg((tickets.kind = concern)::INT) FROM tickets JOIN {TICKETS} AS labels USING (id)",
}
"""Of each example whose answers can be checked: the share of them that is right."""

EXAMPLES = [path for path in ALL if path.stem in RIGHT or path.stem not in load_functions()]
AT_LEAST = 0.9


def run(path: Path, cwd: Path, *words: str) -> tuple[str, dict[str, Any]]:
    command = [sys.executable, "-m", "sqlinfer", "run", str(path), *words, "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *rows, last = done.stdout.splitlines()
    return "\n".join(rows), json.loads(last)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_answers_right_and_a_second_run_asks_nothing(path: Path, tmp_path: Path) -> None:
    database = tmp_path / "x.duckdb"
    rows, counts = run(path, ROOT, "--db", str(database))
    assert rows.startswith("┌")
    assert counts["known"] == counts["failed"] == 0
    assert counts["generated"] > 0
    if path.stem in RIGHT:
        with duckdb.connect(str(database)) as connection:
            share = connection.sql(RIGHT[path.stem]).fetchall()[0][0]
        assert share >= AT_LEAST
    rows_elsewhere, counts = run(path, tmp_path, "--db", str(database), *FILES)
    assert counts["generated"] == 0
    assert rows_elsewhere == rows


def test_every_example_says_what_it_shows() -> None:
    assert set(RIGHT) <= {path.stem for path in EXAMPLES}
    assert all(path.read_text(encoding="utf-8").startswith("-- ") for path in ALL)
