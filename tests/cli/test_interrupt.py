"""Ctrl-C and SIGTERM stop a real process at once, and the next run goes on where it was.

Without a stop what runs here would take far longer than a test waits; `python -m benchmarks stops` says how long a stop
takes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from sqlinfer.store import Store
from sqlinfer.units import count
from tests import slow_echo
from tests.slow_echo import wait_for_answers

NUM_REQUESTS = 600
ASKING = f"""SELECT count(g) AS n FROM (
    SELECT ai_gen('write about number ' || i, max_tokens := 24, min_tokens := 24) AS g FROM range({NUM_REQUESTS}) t(i)
)"""
READING = "SELECT count(DISTINCT hash(a.i * b.i)) FROM range(100000) a(i), range(100000) b(i)"
PROBING = "SELECT ai_count_tokens('x' || i % 50000) FROM range(300000000) t(i) WHERE hash(i) % 7 = 1"


REAL = ("-m", "sqlinfer")


def start(sql: str, folder: Path, *words: str, program: Sequence[str] = slow_echo.PROGRAM) -> subprocess.Popen[str]:
    (folder / "query.sql").write_text(sql)
    return slow_echo.start("run", "query.sql", *words, cwd=folder, answer_s=0.005, program=program)


def end_of(run: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process that was stopped has said; one that goes on all the same is killed, and the test fails."""
    try:
        return run.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        run.kill()
        pytest.fail(f"the run went on: {run.communicate()}")


def test_ctrl_c_stops_at_once_and_the_next_run_goes_on(home: Path, tmp_path: Path) -> None:
    run = start(ASKING, tmp_path, program=REAL)
    wait_for_answers(home, run=run)
    run.send_signal(signal.SIGINT)
    _, said = end_of(run)
    assert run.returncode == 130
    with Store(home) as store:
        kept = store.answers.stats()["answers"]
        assert store.jobs.show(1).state == "interrupted"
    assert 0 < kept < NUM_REQUESTS
    assert f"Stopped: job 1 keeps {count(kept, 'new answer')}. Run the same command again to go on." in said
    assert "Traceback" not in said
    again = start(ASKING, tmp_path, "--json")
    counts = json.loads(again.communicate(timeout=300)[0].splitlines()[-1])
    assert (counts["known"], counts["generated"]) == (kept, NUM_REQUESTS - kept)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("sql", [READING, PROBING])
def test_a_signal_stops_duckdb_too(tmp_path: Path, home: Path, sql: str, number: int) -> None:
    run = start(sql, tmp_path)
    _wait_for_job(home, run)
    time.sleep(0.5)
    run.send_signal(number)
    _, said = end_of(run)
    assert run.returncode == 130, said
    assert "Stopped: job 1 keeps 0 new answers." in said
    assert "Traceback" not in said


def _wait_for_job(home: Path, run: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until and run.poll() is None:
        if (home / "state.db").is_file():
            with Store(home) as store:
                if store.jobs.list():
                    return
        time.sleep(0.05)
    pytest.fail(f"no job began: {run.communicate()}")


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    run = start("SELECT i FROM range(1000000) t(i)", tmp_path, "--format", "csv")
    assert run.stdout is not None
    assert run.stderr is not None
    run.stdout.readline()
    run.stdout.close()
    said = run.stderr.read()
    assert run.wait(timeout=120) != 0
    assert "Traceback" not in said


def test_a_terminal_sees_a_bar_and_a_pipe_does_not(tmp_path: Path) -> None:
    (tmp_path / "query.sql").write_text(ASKING)
    command = [sys.executable, *slow_echo.PROGRAM, "run", "query.sql", "--format", "csv"]
    master, slave = os.openpty()
    environment = {**slow_echo.environment(answer_s=0.005), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=slave, env=environment) as run:
        os.close(slave)
        seen = b""
        while part := _read(master):
            seen += part
        rows = run.communicate()[0]
    os.close(master)
    assert rows == f"n\n{NUM_REQUESTS}\n".encode()
    assert f"/{NUM_REQUESTS}".encode() in seen
    assert b"tokens/s" in seen
    assert b" left" in seen
    piped = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert b"asking" not in piped.stderr


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_what_cannot_be_interrupted_ends_with_the_process(home: Path, tmp_path: Path) -> None:
    (tmp_path / "udfs").mkdir()
    (tmp_path / "udfs" / "slow.py").write_text(
        "import time\n\nfrom sqlinfer import Request\n\n\ndef slow(t: str) -> Request:\n"
        "    'Take long before anything is asked.'\n    time.sleep(600)\n    return Request(t)\n"
    )
    run = start("SELECT slow(i::VARCHAR) FROM range(3) t(i)", tmp_path)
    _wait_for_job(home, run)
    run.send_signal(signal.SIGTERM)
    _, said = end_of(run)
    assert (run.returncode, "Stopped: job 1 keeps 0 new answers." in said) == (130, True), said
    with Store(home) as store:
        assert store.jobs.show(1).state == "interrupted"


SESSION = """
import signal, sys, sqlinfer
if {is_echo}:
    from tests.slow_echo import make_slow
    make_slow()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so their children
with sqlinfer.connect() as con:
    con.execute("SET enable_progress_bar = false")  # DuckDB prints one under python -c
    try:
        con.{method}(sys.argv[1]).fetchall()
    except KeyboardInterrupt:
        print(con.sql("SELECT 1").fetchall())
"""


@pytest.mark.parametrize(
    ("method", "number", "is_echo"),
    [
        ("execute", signal.SIGINT, False),
        ("execute", signal.SIGTERM, True),
        ("sql", signal.SIGINT, True),
        ("sql", signal.SIGTERM, True),
    ],
)
def test_a_signal_stops_a_python_session_at_once(
    home: Path, tmp_path: Path, number: int, method: str, is_echo: bool
) -> None:
    run = slow_echo.start(ASKING, cwd=tmp_path, program=("-c", SESSION.format(method=method, is_echo=is_echo)))
    wait_for_answers(home, run=run)
    run.send_signal(number)
    said, _ = end_of(run)
    assert said == ("[(1,)]\n" if number == signal.SIGINT else "")
    with Store(home) as store:
        kept = store.answers.stats()["answers"]
        assert store.jobs.show(1).state == ("interrupted" if number == signal.SIGINT else "killed")
    assert 0 < kept < NUM_REQUESTS
