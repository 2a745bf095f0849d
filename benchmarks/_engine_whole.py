"""The engine's benchmark from the outside: rows that repeat, whole runs of the command, work that grows."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import _engine_model as model

GROWTH = (1_000, 10_000, 100_000)
TOKENS = 16
_DIRECT = """
import sys
from pathlib import Path
from sqlinfer.engine import open_engine
from sqlinfer.types import ModelVersion, Parameters, Request
folder, file = sys.argv[1:]
engine = open_engine(ModelVersion("bench", 1, folder, Path(folder), "bench"))
parameters = Parameters(max_tokens={tokens})
texts = Path(file).read_text().splitlines()
requests = [Request(text, parameters=parameters, key=str(i).encode()) for i, text in enumerate(texts)]
print(sum(1 for answer in engine.generate(requests) if answer.output is not None))
"""
_SQL = "CREATE TABLE answers AS SELECT ai_query('{folder}', text, max_tokens := {tokens}) AS answer FROM '{file}'"


def repeated(folder: Path, options: Any) -> dict[str, Any]:
    """Each row 5 times: the engine alone runs all of them, against SQL, which runs each distinct request once."""
    texts = [request.text for request in model.distinct(max(8, options.rows // 8)).requests] * 5
    ways = _ways(_model(folder), _table(folder, "repeated", texts), options.device)
    return _timed(ways, options.rounds, len(texts), "sqlinfer run", "each row run")


def whole(folder: Path, options: Any) -> dict[str, Any]:
    """The whole command on distinct rows, against a program that asks the engine for the same answers."""
    texts = [request.text for request in model.distinct(options.rows).requests]
    ways = _ways(_model(folder), _table(folder, "whole", texts), options.device)
    result = _timed(ways, options.rounds, len(texts), "sqlinfer run", "each row run")
    took = result["seconds"]
    result["figures"] = {"run / direct": round(took["sqlinfer run"]["median"] / took["each row run"]["median"], 3)}
    return result


def growth(folder: Path, options: Any) -> dict[str, Any]:
    """The command on tables that grow tenfold, with a model so small that what surrounds it counts."""
    from tools.random_models import build

    small = build("llama", folder / "small")
    figures = {}
    for count in GROWTH:
        if count > options.rows * 400:
            continue
        file = _table(folder, f"growth{count}", [f"row {i} of a table" for i in range(count)])
        with tempfile.TemporaryDirectory() as home:
            started_s = time.perf_counter()
            memory = _command(_run(small, file, 4), home, options.device)
            took = time.perf_counter() - started_s
        figures[f"{count:,} rows"] = {"seconds": round(took, 1), "ms_a_row": round(1e3 * took / count, 3), "mb": memory}
    return {"rows": "", "figures": figures}


def _model(folder: Path) -> Path:
    from tools.random_models import build

    path = folder / "llama"
    return path if path.exists() else build("llama", path, size=model.SIZES["llama"])


def _table(folder: Path, name: str, texts: list[str]) -> Path:
    """A file of one column; the words of the texts hold no commas and no quotes once these are taken out."""
    file = folder / f"{name}.csv"
    clean = [text.replace(",", "").replace('"', "") for text in texts]
    file.write_text("\n".join(["text", *clean]) + "\n", encoding="utf-8")
    (folder / f"{name}.txt").write_text("\n".join(clean) + "\n", encoding="utf-8")
    return file


def _run(folder: Path, file: Path, tokens: int) -> list[str]:
    script = file.with_suffix(".sql")
    script.write_text(_SQL.format(folder=folder, file=file, tokens=tokens), encoding="utf-8")
    return [sys.executable, "-m", "sqlinfer", "run", str(script)]


def _ways(folder: Path, file: Path, device: str) -> dict[str, Callable[[str], int]]:
    direct = [sys.executable, "-c", _DIRECT.format(tokens=TOKENS), str(folder), str(file.with_suffix(".txt"))]
    command = _run(folder, file, TOKENS)
    return {
        "sqlinfer run": lambda home: _command(command, home, device),
        "each row run": lambda home: _command(direct, home, device),
    }


def _command(command: list[str], home: str, device: str) -> int:
    """Run a command with a state folder of its own; the most memory that it held, in MB."""
    environment = {**os.environ, "SQLINFER_HOME": home, "SQLINFER_DEVICE": device}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        stderr = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:4])} failed: {stderr.decode()[-500:]}")
    return usage.ru_maxrss // 1024


def _timed(ways: dict[str, Callable[[str], int]], rounds: int, rows: int, ours: str, peer: str) -> dict[str, Any]:
    """Seconds of both ways in turn, processes and loading included."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, work in ways.items():
            with tempfile.TemporaryDirectory() as home:
                started_s = time.perf_counter()
                work(home)
                seconds[way].append(time.perf_counter() - started_s)
    medians = {way: statistics.median(took) for way, took in seconds.items()}
    return {
        "rows": rows,
        "seconds": {
            way: {"median": round(medians[way], 3), "least": round(min(took), 3), "most": round(max(took), 3)}
            for way, took in seconds.items()
        },
        "speedup": {peer: round(medians[peer] / medians[ours], 2)},
    }


WHOLE: dict[str, Callable[[Path, Any], dict[str, Any]]] = {"repeated": repeated, "whole": whole, "growth": growth}
