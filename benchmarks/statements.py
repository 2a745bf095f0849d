"""Many tiny statements, each with one answer that is cached: microseconds a statement beside plain DuckDB.

`python -m benchmarks statements [NUMBER]`, 1,000 of them if not said. To compare two versions of the package, run it in
a checkout of each, in turn.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable

import duckdb

import sqlinfer

ROUNDS = 5
GUARDED = "SELECT i FROM t WHERE i = {} AND ai_count_tokens(body) > 0"
PLAIN = "SELECT i FROM t WHERE i = {} AND length(body) > 0"


def main(argv: list[str]) -> None:
    """Print microseconds a statement, median and spread of the rounds."""
    number = int(argv[0]) if argv else 1000
    ours, theirs = list[float](), list[float]()
    setup = f"CREATE TABLE t AS SELECT i, 'text' AS body FROM range({number}) r(i)"
    with tempfile.TemporaryDirectory() as folder, sqlinfer.connect(f"{folder}/a.duckdb") as session:
        session.execute(setup)
        with duckdb.connect() as plain:
            plain.execute(setup)
            for _ in range(ROUNDS):  # in turn, so that a busy moment meets both
                ours.append(_microseconds(lambda i: session.execute(GUARDED.format(i)).fetchall(), number))
                theirs.append(_microseconds(lambda i: plain.execute(PLAIN.format(i)).fetchall(), number))
    for name, times in (("sqlinfer", ours), ("duckdb", theirs)):
        print(f"{name:9} {statistics.median(times):8.0f} us a statement ({min(times):.0f} to {max(times):.0f})")


def _microseconds(run: Callable[[int], object], number: int) -> float:
    started_s = time.perf_counter()
    for i in range(number):
        run(i)
    return (time.perf_counter() - started_s) / number * 1e6
