from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.store import Store

STARTER = """
import sys, time
from pathlib import Path
from sqlinfer.store import Store
store = Store(Path(sys.argv[1]))
print(store.jobs.start("SELECT 1"), flush=True)
time.sleep(60)
"""


def test_a_job_is_recorded_from_start_to_end(store: Store) -> None:
    job_id = store.jobs.start("SELECT summarize(text)", ["news/3"], {"dtype": "auto"})
    running = store.jobs.show(job_id)
    assert (job_id, running.state, running.pid, running.ended) == (1, "running", os.getpid(), None)
    assert (running.models, running.settings) == (("news/3",), {"dtype": "auto"})
    store.jobs.update(job_id, rows=10, requests=8, known=3)
    store.jobs.finish(job_id, "done", generated=5, prompt_tokens=50, completion_tokens=20, seconds=1.5)
    done = store.jobs.show(job_id)
    assert (done.state, done.rows, done.requests, done.known, done.generated) == ("done", 10, 8, 3, 5)
    assert (done.prompt_tokens, done.completion_tokens, done.seconds, done.error) == (50, 20, 1.5, None)
    assert done.ended is not None
    assert done.ended >= done.started


def test_jobs_are_listed_newest_first_and_numbers_are_not_used_again(store: Store) -> None:
    for number in range(4):
        store.jobs.finish(store.jobs.start(f"SELECT {number}"), "failed", "no memory")
    assert [job.job_id for job in store.jobs.list(limit=3)] == [4, 3, 2]
    running = store.jobs.start("SELECT 5")
    assert store.jobs.clear(before_s=store.jobs.show(1).started) == []
    assert sorted(store.jobs.clear()) == [1, 2, 3, 4]
    assert [job.job_id for job in store.jobs.list()] == [running]
    assert store.jobs.start("SELECT 6") == 6


def test_a_job_whose_process_was_killed_is_shown_as_killed(store: Store, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "home")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    job_id = int(process.stdout.readline())
    assert store.jobs.show(job_id).state == "running"
    process.kill()
    until = time.monotonic() + 60
    while store.jobs.show(job_id).state == "running":  # a zombie at first: it counts as gone
        assert time.monotonic() < until
    assert store.jobs.show(job_id).state == "killed"
    process.wait(timeout=60)
    process.stdout.close()
    assert store.jobs.show(job_id).state == "killed"


def test_another_process_with_the_same_pid_is_not_the_job(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("start times are told by /proc")
    job_id = store.jobs.start("SELECT 1")
    assert store.jobs.show(job_id).state == "running"
    monkeypatch.setattr("sqlinfer.store.process._start", lambda pid: "1")
    assert store.jobs.show(job_id).state == "killed"


def test_errors_of_rows_are_kept_with_an_excerpt(store: Store) -> None:
    job_id = store.jobs.start("SELECT 1")
    store.jobs.add_errors(
        job_id, [(b"1" * 16, "ai_gen", "m/1", "t" * 1000, "too \ud800 long"), (b"2" * 16, "ai_gen", "m/1", "", "x")]
    )
    first, second = store.jobs.errors(job_id)
    assert (first.key, first.function, first.model, first.excerpt, first.message) == (
        b"1" * 16,
        "ai_gen",
        "m/1",
        "t" * 200,
        "too ? long",
    )
    assert second.message == "x"
    assert store.jobs.errors(job_id + 1) == []


def test_unknown_jobs_and_counts_are_errors(store: Store) -> None:
    with pytest.raises(SqlinferError, match="no job 7"):
        store.jobs.show(7)
    job_id = store.jobs.start("SELECT 1")
    with pytest.raises(ValueError, match="no count tokens"):
        store.jobs.update(job_id, tokens=3)
    with pytest.raises(ValueError, match="ends done"):
        store.jobs.finish(job_id, "running")


def test_speed_is_that_of_the_last_five_jobs(store: Store) -> None:
    assert store.jobs.speed("f") is None
    store.jobs.record_speed("f", 10**9, 10**9, 1.0)
    store.jobs.record_speed("g", 1, 1, 1.0)
    for _ in range(5):
        store.jobs.record_speed("f", 1000, 100, 2.0)
    assert store.jobs.speed("f") == (500.0, 50.0)
