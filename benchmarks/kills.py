"""kill -9 in each phase of a run, at random moments; then the run again: is the table right, what was asked twice?

Usage: python -m benchmarks kills [NUM_KILLS]. Each trial has a state folder and a DuckDB file of its own. A function of
the user's slows each phase down, so that the kill falls into it. Prints a table, then one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from sqlinfer.store import Store

ROOT = Path(__file__).parents[1]
PHASES = ("probe", "infer", "replay", "commit")
NUM_ROWS = 300
KEY_BYTES = 16
_SUMMED = ("has_table", "rows_lost", "rows_wrong", "finished", "not_kept", "asked_twice")
_RIGHT: list[tuple[int, str]] = []

FUNCTION = """
import os, time
from pathlib import Path
from sqlinfer import Request, Parameters
from sqlinfer.inference import pipeline

STARTED, SLOW = Path(os.environ["KILLS_FOLDER"]), os.environ.get("KILLS_SLOW", "")


def _noted(generate, inference, requests, cancel):
    "A stage that notes each completion before it is handed on: a killed process can say it no more."
    with open(STARTED / "finished", "ab", buffering=0) as finished:
        for completion in generate(requests, cancel):
            finished.write(completion.request.key)
            yield completion


*_before, _retry = pipeline.STAGES
pipeline.STAGES = (*_before, _noted, _retry)


def note(t: str) -> Request:
    "Ask about a number; slow in the phase that is to be killed."
    (STARTED / "probe").touch()
    if SLOW == "probe":
        time.sleep(0.01)
    return Request(t, parameters=Parameters(max_tokens=8, min_tokens=8))


def read(answer: str) -> str:
    (STARTED / "replay").touch()
    if SLOW == "replay":
        time.sleep(0.005)
    return answer
"""
QUERY = """
CREATE OR REPLACE TABLE t AS SELECT i, note('number ' || i) AS note FROM range({rows}) r(i);
CREATE OR REPLACE TABLE done AS SELECT count(*) AS n FROM t, range({work}) s(j) WHERE hash(t.i, s.j) % 3 = 0;
"""
"""The second statement takes long, so that there is a time after the first one's commit."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One kill. has_table: whether the killed run had committed its table. finished: answers that its engine gave;
    kept: those in the store. known, generated: of the run after it. asked_twice: answers that were kept and were asked
    again all the same. not_kept: answers that had finished, had not been committed when the kill came, and so were
    asked again. rows_lost, rows_wrong: of the table, against an unharmed run's."""

    phase: str
    was_killed: bool
    has_table: bool
    finished: int
    kept: int
    known: int
    generated: int
    rows_lost: int
    rows_wrong: int
    asked_twice: int
    not_kept: int


class Trial:
    """A state folder, a database and a query of its own. program: what Python runs with the words of a command."""

    def __init__(self, folder: Path, seed: int, program: Sequence[str] = ("-m", "sqlinfer")) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.program = program
        self._random = random.Random(seed)
        (folder / "udfs").mkdir(parents=True)
        self.home.mkdir()
        (folder / "udfs" / "note.py").write_text(FUNCTION)

    def start(self, slow: str = "") -> subprocess.Popen[str]:
        """The run as a process; slow: the phase that takes longer."""
        work = 3_000_000 if slow == "commit" else 1
        (self.folder / "query.sql").write_text(QUERY.format(rows=NUM_ROWS, work=work))
        folders = {"SQLINFER_HOME": str(self.home), "KILLS_FOLDER": str(self.folder), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, *self.program, "run", "query.sql", "--db", "t.duckdb", "--json"]
        return subprocess.Popen(
            command, cwd=self.folder, env={**os.environ, **folders, "KILLS_SLOW": slow},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def kill_in(self, phase: str) -> Outcome:
        """Kill a run in a phase, run it again, and compare its table with one of an unharmed run."""
        run = self.start(slow=phase)
        until = time.monotonic() + 120
        while run.poll() is None and time.monotonic() < until and not self._is_in(phase):
            time.sleep(0.005)
        time.sleep(self._random.uniform(0, 0.4))
        was_killed = run.poll() is None
        run.send_signal(signal.SIGKILL)
        run.communicate()
        kept, finished, has_table = self._kept(), self._finished(), self._has_table()
        counts = self._finish()
        table, right = self._table("t.duckdb"), self._right()
        return Outcome(
            phase,
            was_killed,
            has_table,
            finished,
            kept,
            counts["known"],
            counts["generated"],
            rows_lost=len(right) - len(set(table) & set(right)),
            rows_wrong=len(set(table) - set(right)) + len(table) - len(set(table)),
            asked_twice=kept + counts["generated"] - NUM_ROWS,
            not_kept=finished - kept,
        )

    def _right(self) -> list[tuple[int, str]]:
        """The rows of a run that nobody killed, with a state of its own."""
        if not _RIGHT:
            unharmed = Trial(self.folder / "unharmed", 0, self.program)
            unharmed._finish()
            _RIGHT.extend(unharmed._table("t.duckdb"))
        return _RIGHT

    def _is_in(self, phase: str) -> bool:
        """Whether the running run has come to a phase."""
        if phase == "infer":
            return self._kept() > 0
        if phase == "commit":
            return (self.folder / "t.duckdb").is_file() and (self.folder / "replay").exists()
        return (self.folder / phase).exists()

    def _kept(self) -> int:
        if not (self.home / "state.db").is_file():
            return 0
        with Store(self.home) as store:
            return int(store.answers.stats()["answers"])

    def _finished(self) -> int:
        """How many answers the engine of the killed run gave."""
        noted = self.folder / "finished"
        return noted.stat().st_size // KEY_BYTES if noted.exists() else 0

    def _has_table(self) -> bool:
        """Whether the table stands in a copy of the database as the kill left it."""
        copied = self.folder / "copy"
        copied.mkdir()
        for file in self.folder.glob("t.duckdb*"):
            shutil.copy(file, copied)
        with duckdb.connect(str(copied / "t.duckdb")) as connection:
            return bool(connection.execute("FROM duckdb_tables() WHERE table_name = 't'").fetchall())

    def _finish(self) -> dict[str, Any]:
        run = self.start()
        said = run.communicate(timeout=600)
        if run.returncode:
            raise RuntimeError(f"the run after a kill failed: {said}")
        return dict(json.loads(said[0].splitlines()[-1]))

    def _table(self, name: str) -> list[tuple[int, str]]:
        with duckdb.connect(str(self.folder / name), read_only=True) as connection:
            return connection.execute("FROM t ORDER BY i").fetchall()


def main(argv: Sequence[str]) -> None:
    """Kill as often as asked, in all phases alike, and print what was lost."""
    num_kills = int(argv[0]) if argv else 50
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(num_kills):
            trial = Trial(Path(folder) / str(number), seed=number)
            outcomes.append(trial.kill_in(PHASES[number % len(PHASES)]))
            print(outcomes[-1], flush=True)
            shutil.rmtree(trial.folder)
    print("\nphase    kills survived" + "".join(f"{name.replace('_', ' '):>13}" for name in _SUMMED))
    for phase in (*PHASES, "all"):
        print(_line(phase, [outcome for outcome in outcomes if phase in (outcome.phase, "all")]))
    print(json.dumps([asdict(outcome) for outcome in outcomes]))


def _line(phase: str, outcomes: Sequence[Outcome]) -> str:
    kills = [outcome for outcome in outcomes if outcome.was_killed]
    survived = sum(outcome.rows_lost + outcome.rows_wrong == 0 for outcome in kills)
    sums = [sum(getattr(outcome, name) for outcome in kills) for name in _SUMMED]
    return f"{phase:8}{len(kills):>6}{survived:>9}" + "".join(f"{number:>13}" for number in sums)


if __name__ == "__main__":
    main(sys.argv[1:])
