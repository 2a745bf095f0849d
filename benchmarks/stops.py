"""How long Ctrl-C and SIGTERM take to stop a run that asks a model, on the command line and in a Python session.

Usage: python -m benchmarks stops [TIMES]. Each trial has a state folder of its own and is stopped at a random moment
after its first answer. Seconds are from the signal until the process has ended; of a session that lives on, until it
has control again. Prints the median of TIMES (5) trials of each kind, then one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sqlinfer.store import Store

QUERY = "SELECT count(ai_gen('write about number ' || i, max_tokens := 24, min_tokens := 24)) FROM range(20000) t(i)"
SESSION = """
import signal, sys, sqlinfer
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
with sqlinfer.connect() as con:
    try:
        con.execute(open("query.sql").read())
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""
WAYS = {
    "sqlinfer run": ["-m", "sqlinfer", "run", "query.sql", "--quiet"],
    "Python session": ["session.py"],
}
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(argv: Sequence[str]) -> None:
    """Stop each kind of process by each signal so many times, and print the medians."""
    num_times = int(argv[0]) if argv else 5
    source, seconds = random.Random(1), dict[str, list[float]]()
    for way in WAYS:
        for number in SIGNALS:
            kind = f"{way}, {number.name}"
            seconds[kind] = [stop_s(way, number, source.uniform(0, 1)) for _ in range(num_times)]
            print(f"{kind:26}{statistics.median(seconds[kind]):>8.2f} s, all: {sorted(seconds[kind])}", flush=True)
    print(json.dumps(seconds))


def stop_s(way: str, number: signal.Signals, after_s: float) -> float:
    """Seconds from the signal to the end; the signal comes so long after the first answer."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "query.sql").write_text(QUERY)
        (folder / "session.py").write_text(SESSION)
        environment = {**os.environ, "SQLINFER_HOME": str(folder / "home")}
        command = [sys.executable, *WAYS[way]]
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as run:
            assert run.stdout is not None
            while run.poll() is None and not num_answers(folder / "home"):
                time.sleep(0.02)
            time.sleep(after_s)
            if run.poll() is not None:
                raise RuntimeError(f"{command} ended by itself with {run.returncode}")
            started_s = time.perf_counter()
            run.send_signal(number)
            run.stdout.read(1)  # the session's word, or the end of what the process writes
            if not lives_on(way, number):
                run.wait()
            seconds = time.perf_counter() - started_s
            run.wait()
        if not num_answers(folder / "home"):
            raise RuntimeError(f"{command} kept no answer")
    return round(seconds, 2)


def lives_on(way: str, number: signal.Signals) -> bool:
    """Whether what is stopped so goes on to other work."""
    return way == "Python session" and number == signal.SIGINT


def num_answers(home: Path) -> int:
    """How many answers are kept."""
    if not (home / "state.db").is_file():
        return 0
    with Store(home) as store:
        return int(store.answers.stats()["answers"])


if __name__ == "__main__":
    main(sys.argv[1:])
