"""`sqlinfer serve` on an echo engine that takes its time: `python -m tests.serve.echo_server`. Ends with what it was
asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from sqlinfer.cli import main
from sqlinfer.sql import runtime
from sqlinfer.types import Completion, Request
from tests.conftest import EchoEngine

ANSWER_S = 0.02


class Slow(EchoEngine):
    """Waits before each answer."""

    def generate(self, requests: Iterable[Request], cancel: Any = None) -> Iterator[Completion]:
        for completion in super().generate(requests, cancel):
            time.sleep(ANSWER_S)
            yield completion


if __name__ == "__main__":
    engine = Slow()
    runtime.get_engine = lambda version: engine  # type: ignore[assignment, return-value]
    main(["serve", "--model", "echo", *sys.argv[1:]], standalone_mode=False)
    print(len(engine.asked))
