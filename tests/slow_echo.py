"""The command line on an echo engine that takes its time, as `python -m tests.slow_echo serve --model echo`.

A command that comes to its end prints last how many requests it asked.
"""

from __future__ import annotations

import os
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
    runtime.open_engine = lambda version: engine  # type: ignore[attr-defined, assignment, return-value]
    return engine


def wait_for_answers(home: Path, num_answers: int = 1) -> None:
    """Return as soon as a process has kept that many answers."""
    until_s = time.monotonic() + PATIENCE_S
    while not (home / "state.db").is_file() or _num_answers(home) < num_answers:
        assert time.monotonic() < until_s, f"there are not {num_answers} answers"
        time.sleep(0.05)


def _num_answers(home: Path) -> int:
    with Store(home) as store:
        return int(store.answers.stats()["answers"])


if __name__ == "__main__":
    engine = make_slow()
    code = main(sys.argv[1:], standalone_mode=False)
    print(len(engine.asked))
    sys.exit(code)
