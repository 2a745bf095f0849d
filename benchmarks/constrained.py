"""Answers held to a schema: whether all parse into their type, and what the grammar costs a step of a mixed batch.

Usage: python -m benchmarks constrained [NUM_ROWS]. First NUM_ROWS rows (10,000), in turn of several SQL types, on
random-weight models of two kinds, in SQL, at temperature 1: each must come out of DuckDB as a value of its type. Then a
llama of 60M parameters and more, float32, on the CPU: the seconds of a step of 64 rows that write free text, and of the
same 64 rows with every other one held to a schema. Prints a table, then one line of JSON.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import llguidance
import torch

import sqlinfer
from sqlinfer.engine import open_engine
from sqlinfer.types import ModelVersion, Parameters, Request
from tools.random_models import TEXT, Size, build

TYPES = (
    "STRUCT(name VARCHAR, age INTEGER, due DATE, paid BOOLEAN)",
    "STRUCT(price DECIMAL(10,2), tags VARCHAR[], seen TIMESTAMP)[]",
    "ENUM('good', 'bad', 'neither')",
    "BIGINT",
    "DOUBLE",
    "VARCHAR[]",
    '{"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}}, "required": ["a"]}',
)
MODELS = ("sqlinfer/tiny", "sqlinfer/tiny-summarizer")
SIZE = Size(hidden=640, num_layers=12, num_heads=10, num_key_value_heads=5, vocabulary=8192, positions=1024)
NUM_LINES = 64
NUM_STEPS = 40
ROUNDS = 3


def main(argv: Sequence[str]) -> None:
    """Count what parses, time the steps, and print."""
    num_rows = int(argv[0]) if argv else 10_000
    versions = f"torch {torch.__version__}, llguidance {llguidance.get_version()}, Python {platform.python_version()}"
    print(f"{versions}, {os.cpu_count()} cores, {torch.get_num_threads()} threads\n")
    parsed = {model: _parsed(model, num_rows) for model in MODELS}
    for model, counts in parsed.items():
        print(f"{model:28}{sum(counts.values()):>8} of {num_rows} answers are values of their type")
        for kind, count in counts.items():
            print(f"    {count:>8}  {kind[:80]}")
    seconds = _steps()
    free, mixed = (statistics.median(seconds[way]) for way in ("free", "mixed"))
    print(
        f"\n{NUM_LINES} rows, a step: free {1e3 * free:.1f} ms, every other held to a schema {1e3 * mixed:.1f} ms: ",
        end="",
    )
    print(f"{100 * (mixed / free - 1):+.1f} %")
    print(json.dumps({"rows": num_rows, "parsed": parsed, "step_s": seconds, "overhead": round(mixed / free - 1, 4)}))


def _parsed(model: str, num_rows: int) -> dict[str, int]:
    """How many answers are values, for each type."""
    each = -(-num_rows // len(TYPES))
    found = {}
    with tempfile.TemporaryDirectory() as home:
        os.environ["SQLINFER_HOME"] = home
        with sqlinfer.connect(store=False) as con:
            for place, kind in enumerate(TYPES):
                count = min(each, num_rows - place * each)
                literal = kind.replace("'", "''")
                said = f"returnType => '{literal}', temperature := 1, max_tokens := 160, on_error := 'null'"
                call = f"ai_query('{model}', 'row ' || i, {said})"
                (found[kind],) = con.execute(f"SELECT count({call}) FROM range({count}) r(i)").fetchone()
    return found


def _steps() -> dict[str, list[float]]:
    """Seconds of a step, the median of each round, free and mixed in turn."""
    seconds: dict[str, list[float]] = {"free": [], "mixed": []}
    with tempfile.TemporaryDirectory() as folder:
        version = ModelVersion("bench", 1, folder, build("llama", folder, size=SIZE), "bench", dtype="float32")
        engine = open_engine(version, device="cpu")
        millions = sum(p.numel() for p in engine.loaded.model.parameters()) / 1e6
        print(f"\nllama of {millions:.0f}M parameters, random weights, float32")
        texts = [TEXT[i % len(TEXT)] for i in range(NUM_LINES)]
        parameters = Parameters(max_tokens=400)
        free = [Request(text, parameters=parameters, key=str(i).encode()) for i, text in enumerate(texts)]
        fields = {"text": {"type": "string", "minLength": 80}}  # so that no row ends while steps are timed
        schema = json.dumps({"type": "object", "properties": fields, "required": ["text"]})
        held = [replace(r, schema=schema) if i % 2 else r for i, r in enumerate(free)]
        for _ in range(ROUNDS):
            for way, requests in (("free", free), ("mixed", held)):
                seconds[way].append(_median_step(engine, requests))
    return seconds


def _median_step(engine: Any, requests: list[Request]) -> float:
    loop = engine.runner.open_loop(None)
    loop.add(engine.runner.prepare(requests))
    loop.step()  # the prefill
    taken = []
    for _ in range(NUM_STEPS):
        started_s = time.perf_counter()
        loop.step()
        taken.append(time.perf_counter() - started_s)
    if len(loop.batch.rows) != len(requests):
        raise SystemExit("a row ended too early to measure full steps")
    return statistics.median(taken)


if __name__ == "__main__":
    main(sys.argv[1:])
