"""The main job on real input: a CSV of bills becomes a table of summaries, in real processes, one of them killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

import sqlinfer
from sqlinfer.store import Store
from tests.conftest import DATA

ROOT = Path(__file__).parents[1]
BILLS = DATA / "billsum" / "billsum-0.csv"
MAX_WORDS = 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BILLS.is_file(), reason=f"the bills are not here: {BILLS}"),
]


@pytest.fixture
def bills(tmp_path: Path) -> Path:
    """Real bills and their real summaries, both as texts: 400 rows, some of them twice."""
    path = tmp_path / "bills.csv"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT title, unnest([text, summary]) AS text FROM read_csv('{BILLS}') "
            f"UNION ALL FROM (SELECT title, text FROM read_csv('{BILLS}') LIMIT 20)) TO '{path}' (HEADER)"
        )
    return path


def command(bills: Path, database: Path) -> list[str]:
    settings = ["--set", f"bills={bills}", "--set", f"max_words={MAX_WORDS}"]
    query = str(ROOT / "examples" / "sql" / "summarize_bills.sql")
    return [sys.executable, "-m", "sqlinfer", "run", query, "--db", str(database), *settings, "--json"]


def finish(bills: Path, database: Path) -> dict[str, Any]:
    done = subprocess.run(command(bills, database), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def rows(database: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database)) as connection:
        return connection.execute("FROM bill_summaries ORDER BY ALL").fetchall()


def test_a_killed_run_goes_on_and_nothing_is_asked_twice(bills: Path, home: Path, tmp_path: Path) -> None:
    database = tmp_path / "bills.duckdb"
    with duckdb.connect() as connection:
        row = connection.execute(f"SELECT count(*), count(DISTINCT text) FROM read_csv('{bills}')").fetchone()
    assert row is not None
    num_rows, num_texts = row
    assert num_rows >= 300
    assert num_texts < num_rows

    with subprocess.Popen(command(bills, database), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as first:
        until = time.monotonic() + 180
        while time.monotonic() < until and _summaries(home) < 40:
            assert first.poll() is None, "the run ended before it was killed"
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)

    with Store(home) as store:
        assert store.jobs.show(1).state == "killed"
    kept = _summaries(home)
    assert 40 <= kept < num_texts

    second = finish(bills, database)
    assert (second["rows"], second["requests"]) == (num_rows, num_texts)  # a tokenizer counts, which is no request
    assert (second["known"], second["generated"], second["failed"]) == (kept, num_texts - kept, 0)
    table = rows(database)
    assert len(table) == num_rows

    third = finish(bills, database)
    assert (third["known"], third["generated"], third["prompt_tokens"]) == (num_texts, 0, 0)
    assert rows(database) == table

    _assert_right(table, bills)


def _summaries(home: Path) -> int:
    if not (home / "state.db").is_file():
        return 0
    with Store(home) as store:
        return int(store.answers.stats()["functions"].get("summarize", 0))


def _assert_right(table: list[tuple[Any, ...]], bills: Path) -> None:
    """A few rows asked alone, without the store, are the rows of the table."""
    with sqlinfer.connect(store=False) as session:
        asked = session.execute(
            f"SELECT title, summarize(text, max_words := {MAX_WORDS}), ai_count_tokens(text) "
            f"FROM (FROM read_csv('{bills}') ORDER BY hash(title, text) LIMIT 5)"
        ).fetchall()
    assert len(asked) == 5
    assert set(asked) <= set(table)
