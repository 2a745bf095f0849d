"""What is said of a job while it runs: in the run itself, and from another process."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sqlinfer
from sqlinfer import Parameters, Request
from sqlinfer.engine import BUILTINS, open_engine
from sqlinfer.inference.progress import Progress, progress_line
from sqlinfer.store import Store
from tests.cli.conftest import Invoke
from tests.conftest import EchoEngine
from tests.slow_echo import PATIENCE_S

Query = Callable[..., str]


def job(**counts: Any) -> SimpleNamespace:
    none = {
        "rows": 0,
        "generated": 0,
        "failed": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "expected": 0,
        "cost": 0.0,
    }
    return SimpleNamespace(**{**none, "batch_fill": 0.0, "seconds": 1.0, **counts})


def test_a_line_says_rows_requests_failures_tokens_fill_and_the_time_left() -> None:
    now = job(
        rows=5000,
        generated=990,
        failed=10,
        expected=4000,
        prompt_tokens=20_000,
        completion_tokens=5_000,
        batch_fill=0.5,
    )
    assert progress_line(now, 10.0) == (
        "5,000 rows, asking 1,000/4,000 requests, 10 failed, 2,000 + 500 tokens/s, batch 50% full, 0:00:30 left"
    )


def test_what_ended_before_is_no_speed_of_now() -> None:
    now = job(generated=600, expected=1000, prompt_tokens=6000, completion_tokens=600)
    assert progress_line(now, 10.0, (500, 5000, 500)) == "asking 600/1,000 requests, 100 + 10 tokens/s, 0:00:40 left"


def test_before_an_answer_the_line_says_what_goes_on() -> None:
    assert progress_line(job(rows=9, activity="loading short/1"), 83.0) == "9 rows, loading short/1, 0:01:23 elapsed"
    assert progress_line(job(expected=4), 2.0) == "asking 0/4 requests, 0 + 0 tokens/s, 0:00:02 elapsed"


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs report a hundred times a second."""
    for name in ("_TICK_S", "_UPDATE_S"):
        monkeypatch.setattr(f"sqlinfer.inference.job.{name}", 0.01)


def test_a_job_reports_by_the_clock_before_its_first_answer(
    fast_clock: None, registered: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    activities: list[str] = []
    with sqlinfer.connect(model="echo", udfs=[]) as con:

        def answer(request: Any) -> str:
            until_s = time.monotonic() + PATIENCE_S
            while not con.runtime.store.jobs.list()[0].expected and time.monotonic() < until_s:
                time.sleep(0.005)
            assert con.runtime.store.jobs.list()[0].expected == 3, "another process sees it"
            return str(request.text)

        engine = EchoEngine(answer)
        monkeypatch.setattr(con.runtime, "open_engine", lambda version: engine)
        with con.job("a test", show_progress=lambda counts: activities.append(counts.activity)):
            reading = "(SELECT sum(hash(i)) AS h FROM range(30000000) t(i))"
            con.execute(f"SELECT ai_gen('a' || n) FROM {reading}, range(3) r(n) WHERE h > 0")
    assert "reading rows" in activities


def test_an_engine_says_that_its_model_loads() -> None:
    engine = open_engine(BUILTINS["sqlinfer/tiny"])
    assert engine.activity == "loading sqlinfer/tiny"
    list(engine.generate([Request("a lamp", parameters=Parameters(max_tokens=1))]))
    assert engine.activity == ""


@pytest.mark.parametrize("booted_s", [0.0, 1e6])  # the clock may begin with the machine
def test_lines_come_no_more_often_than_they_may(booted_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace()
    clock.monotonic = lambda: booted_s + clock.passed_s
    monkeypatch.setattr(sys.modules["sqlinfer.inference.progress"], "time", clock)

    def ended(every_s: float, **more: bool) -> list[int]:
        lines: list[int] = []
        progress = Progress(lambda _: lines.append(clock.passed_s), every_s, **more)
        for clock.passed_s in range(10):
            progress(job(generated=1 + clock.passed_s, expected=10))
        return lines

    assert ended(4.0) == [0, 4, 8]
    assert ended(4.0, is_late=True) == [4, 8]
    assert ended(100.0) == [0]


def test_a_quiet_run_says_nothing_on_stderr(invoke: Invoke, query: Query, echoing: EchoEngine) -> None:
    result = invoke("run", query("SELECT ai_gen('a') AS g"), "--model", "echo", "--quiet", "--format", "csv")
    assert (result.stderr, result.stdout) == ("", "g\n<a>\n")
    failed = invoke("run", query("SELECT ai_gen('boom')"), "--model", "echo", "--quiet", code=1)
    assert failed.stderr.startswith("Error: ")
    assert "1 request failed" in failed.stderr


def test_a_job_is_watched_until_it_ends(invoke: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["sqlinfer.cli.jobs"], "_WATCH_S", 0.01)
    with Store(home) as store:
        job_id = store.jobs.start("SELECT 1")
        store.jobs.update(job_id, rows=7, expected=10, generated=4, seconds=2.0, completion_tokens=8)

        def end() -> None:
            time.sleep(0.3)
            store.jobs.finish(job_id, "done", rows=7, generated=10, seconds=5.0)

        thread = threading.Thread(target=end)
        thread.start()
        lines = invoke("jobs", "watch", str(job_id)).stdout.splitlines()
        thread.join()
    assert lines[0] == "7 rows, asking 4/10 requests, 0 + 4 tokens/s, 0:00:03 left"
    assert lines[-1].startswith(f"job {job_id} is done: 7 rows, ")
    assert "There is no job 99" in invoke("jobs", "watch", "99", code=1).stderr
