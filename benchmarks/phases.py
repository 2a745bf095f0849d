"""What probe and replay cost without a model: a million known requests, and a million new ones of 1 KB.

Usage: python -m benchmarks phases [NUM_ROWS]. Each measurement runs in a process of its own, so that its peak memory is
its own. Prints a table, then one line of JSON.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from sqlinfer.sql import Session, connect
from sqlinfer.sql.phases import probe
from sqlinfer.store import Store
from sqlinfer.types import Completion, Request, Text

MEASURES = ("probe_distinct_1kb", "replay_known", "probe_repeated")
ANSWER = Text("an answer of some eighty characters, about as long as a short summary would be")


class Constant:
    """An engine that answers at once."""

    def generate(self, requests: Iterable[Request], cancel: Any = None) -> Iterator[Completion]:
        del cancel
        for request in requests:
            yield Completion(request, ANSWER, 250, 20)


def main(argv: Sequence[str]) -> None:
    """Measure each in a process of its own and print."""
    num_rows = int(argv[0]) if argv else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SQLINFER_HOME": folder}
        results = {}
        for name in MEASURES:
            command = [sys.executable, __file__, name, str(num_rows)]
            output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            results[name] = json.loads(output.splitlines()[-1])
    print(f"{num_rows:,} rows, duckdb {duckdb.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores")
    print(f"{'':24}{'seconds':>10}{'us a row':>10}{'peak MB':>10}")
    for name, found in results.items():
        print(f"{name:24}{found['seconds']:>10.1f}{found['seconds'] / num_rows * 1e6:>10.1f}{found['peak_mb']:>10.0f}")
    print(json.dumps({"num_rows": num_rows, **results}))


def measure(name: str, num_rows: int) -> None:
    """One measurement, in this process."""
    _register()
    with connect(model="constant", udfs=[]) as session:
        session.runtime.open_engine = lambda _: Constant()
        session.execute(
            f"CREATE TABLE texts AS SELECT i, 'row ' || i || repeat('x', 1000) AS body FROM range({num_rows}) r(i)"
        )
        seconds = {
            "probe_distinct_1kb": _probe,
            "replay_known": _replay,
            "probe_repeated": _probe_repeated,
        }[name](session)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": round(seconds, 2), "peak_mb": round(peak_mb)}))


def _probe(session: Session) -> float:
    """Record distinct requests of 1 KB."""
    started_s = time.perf_counter()
    planned = session.statements.plan("SELECT ai_gen(body) FROM texts")
    with probe(session.evaluator, session.statements.stages(planned)[-1]) as probed:
        assert probed.spool.count() == session.execute("SELECT count(*) FROM texts").fetchone()[0]
        return time.perf_counter() - started_s


def _replay(session: Session) -> float:
    """Answer all rows, then run the same statement again: all known."""
    session.execute("CREATE TABLE first AS SELECT i, ai_gen(body[:40]) AS answer FROM texts")
    started_s = time.perf_counter()
    session.execute("CREATE TABLE second AS SELECT i, ai_gen(body[:40]) AS answer FROM texts")
    seconds = time.perf_counter() - started_s
    assert (
        session.execute("SELECT count(answer) FROM second").fetchone()
        == session.execute("SELECT count(*) FROM texts").fetchone()
    )
    return seconds


def _probe_repeated(session: Session) -> float:
    """Record a thousand distinct requests of all rows."""
    started_s = time.perf_counter()
    planned = session.statements.plan("SELECT ai_gen('text ' || (i % 1000)) FROM texts")
    with probe(session.evaluator, session.statements.stages(planned)[-1]) as probed:
        assert probed.spool.count() <= 1000
        return time.perf_counter() - started_s


def _register() -> None:
    folder = Path(os.environ["SQLINFER_HOME"]) / "constant"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<f", 1.0))
    with Store() as store:
        store.registry.register("constant", str(folder))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        measure(sys.argv[1], int(sys.argv[2]))
    else:
        main(sys.argv[1:])
