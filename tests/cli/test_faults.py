"""Faults injected for real into real processes: killed in each phase, two at once, a full disk, a locked store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

import sqlinfer
from benchmarks.kills import PHASES, Trial
from sqlinfer.errors import ModelUnusable
from sqlinfer.store import Store
from tests import slow_echo
from tests.conftest import EchoEngine, write_model
from tests.slow_echo import num_answers_in, wait_for_answers

NUM_ROWS = 400
SQL = f"""CREATE OR REPLACE TABLE t AS SELECT i, ai_gen('number ' || i, max_tokens := 12, min_tokens := 12) AS g
    FROM range({NUM_ROWS}) r(i)"""


def start(
    folder: Path, database: str, sql: str = SQL, program: Sequence[str] = slow_echo.PROGRAM
) -> subprocess.Popen[str]:
    (folder / "query.sql").write_text(sql)
    words = ("run", "query.sql", "--db", database, "--json")
    return slow_echo.start(*words, cwd=folder, answer_s=0.005, program=program)


def finish(run: subprocess.Popen[str]) -> dict[str, Any]:
    said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    return dict(json.loads(said[0].splitlines()[-1]))


def rows(database: Path) -> list[tuple[Any, ...]]:
    with sqlinfer.connect(database, store=False) as session:
        return list(session.execute("FROM t ORDER BY i").fetchall())


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_killed_in_any_phase_goes_on(tmp_path: Path, phase: str) -> None:
    trial = Trial(tmp_path / "trial", seed=len(phase), program=slow_echo.PROGRAM)
    outcome = trial.kill_in(phase)
    assert outcome.was_killed
    assert (outcome.rows_lost, outcome.rows_wrong, outcome.asked_twice) == (0, 0, 0)
    assert outcome.known == outcome.kept


def test_two_processes_ask_each_request_once(home: Path, tmp_path: Path) -> None:
    first, second = start(tmp_path, "a.duckdb"), start(tmp_path, "b.duckdb")
    one, two = finish(first), finish(second)
    assert one["generated"] + two["generated"] == NUM_ROWS
    assert one["requests"] == two["requests"] == NUM_ROWS
    table = rows(tmp_path / "a.duckdb")
    assert table == rows(tmp_path / "b.duckdb")
    assert [row[0] for row in table] == list(range(NUM_ROWS))
    assert all(text for _, text in table)


SLOW = """
import time
from sqlinfer import Parameters, Request


def slow(t: str) -> Request:
    "Ask about a number; reading the answer takes its time."
    return Request(t, parameters=Parameters(max_tokens=4))


def read(answer: str) -> str:
    time.sleep(0.02)
    return answer * 1000
"""


def test_a_copy_that_is_killed_leaves_no_part_of_a_file(home: Path, tmp_path: Path) -> None:
    (tmp_path / "udfs").mkdir()
    (tmp_path / "udfs" / "slow.py").write_text(SLOW)
    copy = "COPY (SELECT slow('number ' || i % 20) AS g FROM range(40000) t(i)) TO 'x.csv'"
    run = start(tmp_path, "a.duckdb", copy)
    while run.poll() is None and not any(file.stat().st_size for file in tmp_path.glob("*x.csv*")):
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, run.communicate()
    run.communicate()
    assert not (tmp_path / "x.csv").exists()
    assert finish(start(tmp_path, "a.duckdb", copy))["generated"] == 0
    assert [file.name for file in tmp_path.glob("*x.csv*")] == ["x.csv"]
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT count(g) FROM '{tmp_path}/x.csv'").fetchall() == [(40000,)]


def test_what_a_killed_process_claimed_is_asked_by_the_other(home: Path, tmp_path: Path) -> None:
    first, second = start(tmp_path, "a.duckdb"), start(tmp_path, "b.duckdb")
    wait_for_answers(home, run=first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert finish(second)["requests"] == NUM_ROWS
    assert [row[0] for row in rows(tmp_path / "b.duckdb")] == list(range(NUM_ROWS))
    assert num_answers_in(home) == NUM_ROWS


@pytest.mark.slow
def test_a_store_that_is_locked_for_ten_seconds_loses_nothing(home: Path, tmp_path: Path) -> None:
    run = start(tmp_path, "a.duckdb")
    wait_for_answers(home, run=run)
    other = sqlite3.connect(home / "state.db", isolation_level=None, timeout=30)
    other.execute("BEGIN IMMEDIATE")
    time.sleep(10)
    other.execute("ROLLBACK")
    other.close()
    assert finish(run)["generated"] == NUM_ROWS
    assert num_answers_in(home) == NUM_ROWS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 700 KB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_costs_no_answer_that_was_kept(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = small_disk / "home"
    home.mkdir()
    monkeypatch.setenv("SQLINFER_HOME", str(home))
    Store(home).close()
    left = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filling = small_disk / "filling"
    filling.write_bytes(b"x" * (left - 48 * 1024))
    run = start(tmp_path, "a.duckdb")
    _, said = run.communicate(timeout=300)
    assert run.returncode == 1
    assert "The disk is full" in said
    assert "SQLINFER_HOME" in said
    assert "Traceback" not in said
    kept = num_answers_in(home)
    assert kept < NUM_ROWS
    filling.unlink()
    counts = finish(start(tmp_path, "a.duckdb"))
    assert (counts["known"], counts["generated"]) == (kept, NUM_ROWS - kept)
    assert [row[0] for row in rows(tmp_path / "a.duckdb")] == list(range(NUM_ROWS))


def test_a_full_disk_for_the_questions_is_told(
    small_disk: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", str(small_disk))
    run = start(tmp_path, "a.duckdb", "SELECT count(ai_gen(repeat('x', 1000000) || i)) FROM range(100) t(i)")
    _, said = run.communicate(timeout=300)
    assert run.returncode == 1
    assert "temporary file, which cannot grow" in said
    assert "SQLITE_TMPDIR=/path" in said
    assert "Traceback" not in said
    assert num_answers_in(home) == 0


def test_a_model_that_is_replaced_under_its_name_gives_new_answers(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_model(folder, weight=1.0)
    old, new = EchoEngine(lambda r: f"old {r.text}"), EchoEngine(lambda r: f"new {r.text}")
    with sqlinfer.connect(model=str(folder)) as session:
        session.runtime.open_engine = lambda version: old
        first = session.execute("SELECT ai_gen('a')").fetchall()
        session.runtime.open_engine = lambda version: new
        write_model(folder, weight=2.0)
        second = session.execute("SELECT ai_gen('a')").fetchall()
        write_model(folder, weight=1.0)
        third = session.execute("SELECT ai_gen('a')").fetchall()
    assert (first, second, third) == ([("old a",)], [("new a",)], [("old a",)])
    assert (old.texts, new.texts) == (["a"], ["a"])


def test_answers_of_a_model_that_changes_while_it_loads_are_not_kept(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_model(folder, weight=1.0)

    def load(_: Any) -> EchoEngine:
        write_model(folder, weight=2.0)
        return EchoEngine()

    with sqlinfer.connect(model=str(folder)) as session:
        session.runtime.open_engine = load
        with pytest.raises(ModelUnusable, match=r"changed while they were read.*Run the statement again"):
            session.execute("SELECT ai_gen('a')")
    assert num_answers_in(home) == 0


CLOCK = """
import sys, time
from pathlib import Path
from sqlinfer.cli import main
from tests.slow_echo import make_slow

make_slow()
now = time.time
time.time = lambda: now() - (86400 if Path("back").exists() else 0)
main(sys.argv[1:])
"""


def test_a_clock_that_goes_back_loses_nothing(home: Path, tmp_path: Path) -> None:
    run = start(tmp_path, "a.duckdb", program=("-c", CLOCK))
    wait_for_answers(home, run=run)
    (tmp_path / "back").touch()  # a day, while the run asks
    assert finish(run)["generated"] == NUM_ROWS
    again = finish(start(tmp_path, "b.duckdb", program=("-c", CLOCK)))
    assert (again["known"], again["generated"]) == (NUM_ROWS, 0)
    assert rows(tmp_path / "a.duckdb") == rows(tmp_path / "b.duckdb")
    with Store(home) as store:
        assert [job.state for job in store.jobs.list()] == ["done", "done"]


@pytest.mark.parametrize("damaged", ["the whole file", "the answers"])
def test_a_store_that_became_corrupt_is_made_anew_and_the_run_goes_on(home: Path, tmp_path: Path, damaged: str) -> None:
    finish(start(tmp_path, "a.duckdb"))
    right, path = rows(tmp_path / "a.duckdb"), home / "state.db"
    whole = path.read_bytes()
    keep = 0 if damaged == "the whole file" else len(whole) // 2
    path.write_bytes(whole[:keep] + b"\xff" * (len(whole) - keep))
    run = start(tmp_path, "a.duckdb")
    counts, said = run.communicate(timeout=300)
    if run.returncode:  # it was found out in the middle: that run ends, the next one begins with a new file
        assert "is corrupt" in said
        assert "Run the command again" in said
        run = start(tmp_path, "a.duckdb")
        counts, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert "state.db was corrupt. It was moved to state.db.corrupt-" in " ".join(said.split())
    assert "Traceback" not in said
    assert json.loads(counts.splitlines()[-1])["generated"] == NUM_ROWS
    assert rows(tmp_path / "a.duckdb") == right
    assert len([file for file in home.glob("state.db.corrupt-*") if not file.name.endswith(("-wal", "-shm"))]) == 1


def test_threads_of_a_session_do_not_wait_for_their_own_claims(registered: None, echo: EchoEngine) -> None:
    with sqlinfer.connect(model="echo") as session:
        session.runtime.open_engine = lambda version: echo
        cursors = [session.cursor() for _ in range(3)]
        sql = "SELECT count(ai_gen('n' || i)) FROM range(3000) t(i)"
        threads = [threading.Thread(target=cursor.execute, args=(sql,)) for cursor in cursors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in threads)
        assert len(echo.texts) == 3000
        for cursor in cursors:
            cursor.close()
