"""The command line on an echo engine that takes its time, in a process of its own.

Laws of processes, stores and signals need no real model: starting one costs ten seconds of imports, this one second.
A command that comes to its end writes last, on stderr, how many requests it asked.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlinfer.cli import main
from sqlinfer.inference import runtime
from sqlinfer.store import Store
from sqlinfer.types import Completion, Request
from tests.conftest import EchoEngine

ROOT = Path(__file__).parents[1]
PROGRAM = ("-m", "tests.slow_echo")
ANSWER_S = float(os.environ.get("SLOW_ECHO_S", "0.02"))
PATIENCE_S = 600
"""How long tests wait for what comes in the end, on however busy a machine."""


class Slow(EchoEngine):
    """Waits before each answer."""

    def generate(self, requests: Iterable[Request], cancel: Any = None) -> Iterator[Completion]:
        for completion in super().generate(requests, cancel):
            time.sleep(ANSWER_S)
            yield completion


def make_slow() -> Slow:
    """Make the echo engine that of every model in this process."""
    engine = Slow()
    runtime.open_engine = lambda version: engine  # type: ignore[assignment, return-value]
    return engine


def environment(answer_s: float = 0.02) -> dict[str, str]:
    """What a process needs to find this module. answer_s: how long its engine takes for an answer."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "SLOW_ECHO_S": str(answer_s)}


def start(
    *words: str, cwd: Path | None = None, answer_s: float = 0.02, program: Iterable[str] = PROGRAM
) -> subprocess.Popen[str]:
    """Start a command line, `start("run", "query.sql")`. program: what Python runs."""
    return subprocess.Popen(
        [sys.executable, *program, *words],
        cwd=cwd,
        env=environment(answer_s),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_answers(home: Path, num_answers: int = 1, run: subprocess.Popen[str] | None = None) -> None:
    """Return as soon as a process has kept that many answers. run: the process, if it may end before."""
    until_s = time.monotonic() + PATIENCE_S
    while num_answers_in(home) < num_answers:
        assert run is None or run.poll() is None, f"there are not {num_answers} answers: {run and run.communicate()}"
        assert time.monotonic() < until_s, f"there are not {num_answers} answers"
        time.sleep(0.05)


def num_answers_in(home: Path) -> int:
    """How many answers a state folder keeps."""
    if not (home / "state.db").is_file():
        return 0
    with Store(home) as store:
        return int(store.answers.stats()["answers"])


if __name__ == "__main__":
    engine = make_slow()
    atexit.register(lambda: print(len(engine.asked), file=sys.stderr))
    main(sys.argv[1:])
