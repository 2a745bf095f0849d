"""Every file of examples/sql runs on the built-in models, from the root of the checkout and from any other folder.

Those that are named after a function run where docs/functions.md is checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sqlinfer.functions import load_functions

ROOT = Path(__file__).parents[1]
FUNCTIONS = load_functions()
ALL = sorted((ROOT / "examples" / "sql").glob("*.sql"))
EXAMPLES = [path for path in ALL if path.stem not in FUNCTIONS]
REQUESTS = {"incremental": 18, "nested": 22, "own_function": 4, "quickstart": 36, "summarize_bills": 28}
FILES = ["--set", f"tickets={ROOT / 'examples/data/tickets.csv'}", "--set", f"bills={ROOT / 'examples/data/bills.csv'}"]


def run(path: Path, cwd: Path, *words: str) -> tuple[str, dict[str, Any]]:
    command = [sys.executable, "-m", "sqlinfer", "run", str(path), *words, "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *rows, last = done.stdout.splitlines()
    return "\n".join(rows), json.loads(last)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_a_second_run_asks_nothing(path: Path, home_with_models: Path, tmp_path: Path) -> None:
    database = ["--db", str(tmp_path / "x.duckdb")]
    rows, counts = run(path, ROOT, *database)
    assert rows.startswith("┌")
    assert (counts["known"], counts["generated"], counts["failed"]) == (0, REQUESTS[path.stem], 0)
    rows_elsewhere, counts = run(path, tmp_path, *database, *FILES)
    assert counts["generated"] == 0
    assert rows_elsewhere == rows


def test_every_example_says_what_it_shows() -> None:
    assert {path.stem for path in EXAMPLES} == set(REQUESTS)
    assert all(path.read_text(encoding="utf-8").startswith("-- ") for path in ALL)
