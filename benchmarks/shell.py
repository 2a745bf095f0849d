"""The DuckDB shell beside `sqlinfer run`: short rows that a model answers, and a million rows whose answers are known.

Usage: python -m benchmarks shell [NUM_ROWS [NUM_KNOWN]]. Needs the duckdb program and the extension (make extension).
Each side has a state folder of its own; the model is loaded by a first row that is not counted. Prints a summary, then
one line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.phases import Constant
from benchmarks.phases import _register as register
from sqlinfer.cli.shell import find_program
from sqlinfer.serve.address import EXTENSION
from sqlinfer.serve.launch import ensure_server
from sqlinfer.sql import connect

ASKED = "SELECT count(ai_sentiment('I like number ' || i)) AS n FROM t"
WARM = "SELECT ai_sentiment('warm')"
KNOWN = "SELECT count(ai_gen('row ' || i, model := 'constant')) AS n FROM t"


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    num_rows, num_known = (int(argv[0]) if argv else 20_000), (int(argv[1]) if len(argv) > 1 else 1_000_000)
    results = {}
    with state():
        results["run"] = run(num_rows)
    with state():
        results["shell"] = shell(WARM, ASKED, num_rows)
    with state() as folder:
        fill(num_known)
        results["shell_known"] = shell("SELECT 1", KNOWN, num_known)
        results["store_mb"] = round((folder / "state.db").stat().st_size / 1e6)
    print(f"{num_rows:,} rows: run {results['run']:.1f} s, shell {results['shell']:.1f} s")
    print(f"{num_known:,} known rows: shell {results['shell_known']:.1f} s")
    speed = round(results["run"] / results["shell"], 2)
    print(json.dumps({"num_rows": num_rows, "num_known": num_known, **results, "shell_to_run_speed": speed}))


def run(num_rows: int) -> float:
    """Seconds of the query as `sqlinfer run` runs it, in phases."""
    with connect(udfs=[]) as session:
        session.execute(f"CREATE TABLE t AS SELECT i FROM range({num_rows}) r(i)")
        session.execute(WARM).fetchall()
        started_s = time.perf_counter()
        assert session.execute(ASKED).fetchone() == (num_rows,)
        return round(time.perf_counter() - started_s, 2)


def shell(first: str, query: str, num_rows: int) -> float:
    """Seconds of the query in the official shell, by its own timer."""
    ensure_server()
    sql = f"CREATE TABLE t AS SELECT i FROM range({num_rows}) r(i);\n{first};\n.timer on\n{query};\n"
    command = [sys.executable, "-m", "sqlinfer", "shell"]
    said = subprocess.run(command, input=sql, capture_output=True, text=True, check=True)
    assert f" {num_rows} " in said.stdout, said.stdout + said.stderr
    return float(said.stdout.partition("real ")[2].split()[0])


def fill(num_rows: int) -> None:
    """Answer all rows in the store, by a model that answers at once."""
    register()
    with connect(udfs=[]) as session:
        session.runtime.open_engine = lambda _: Constant()
        session.execute(f"CREATE TABLE t AS SELECT i FROM range({num_rows}) r(i)")
        assert session.execute(KNOWN).fetchone() == (num_rows,)


@contextmanager
def state() -> Iterator[Path]:
    """A state folder, whose server ends with it."""
    if find_program() is None or not EXTENSION.is_file():
        sys.exit("this needs the duckdb program (pip install duckdb-cli) and the extension (make extension)")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SQLINFER_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            with suppress(FileNotFoundError):
                os.kill(int((Path(folder) / "serve.lock").read_text()), signal.SIGTERM)
                time.sleep(2)
