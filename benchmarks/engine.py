"""The engine against its peers on the CPU: decoders, shared beginnings, encoder-decoders, repeated rows, whole runs.

Usage: python -m benchmarks engine [WORKLOAD ...] [--rows N] [--dtype float32] [--rounds 3]. Models of about 60M
parameters with random weights. Where an answer ends is drawn beforehand, and neither the engine nor a peer knows it.
Peer and engine run in turn, each peer with the best of its batch sizes; in float32 the answers must be the same. Prints
a table for each workload, then one line of JSON. Beside the clock's seconds stand those of the processor, which other
work on the machine disturbs less; with OMP_NUM_THREADS=1 no thread spins in them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import transformers

from benchmarks import _engine_model as model
from benchmarks import _engine_peers as peers
from benchmarks._engine_model import Bench, Work
from benchmarks._engine_whole import WHOLE
from sqlinfer.engine import segments

SIZES = (16, 32, 64)
SAME = 0.99  # of the rows: two tokens that are equally likely to the last digit may change places
Ways = dict[str, Callable[[], list[list[int]]]]


def main(argv: Sequence[str]) -> None:
    """Time the workloads asked for, or all, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks engine", description=__doc__)
    parser.add_argument("workload", nargs="*", metavar="WORKLOAD")
    parser.add_argument("--rows", type=int, default=256, help="requests of each workload")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(argv)
    if unknown := [name for name in asked.workload if name not in {*WORKLOADS, *WHOLE}]:
        parser.error(f"no workload {unknown[0]}; there are {', '.join([*WORKLOADS, *WHOLE])}")
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
    machine = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    print(f"{versions}, {machine}; {asked.dtype}, medians of {asked.rounds} rounds\n")
    found: dict[str, Any] = {"dtype": asked.dtype, "rows": asked.rows}
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.workload or [*WORKLOADS, *WHOLE]:
            run = WORKLOADS.get(name) or WHOLE[name]
            found[name] = run(Path(folder), asked)
            _report(name, found[name])
    print(json.dumps(found))


def _decoder(folder: Path, asked: Any, *, work_of: Callable[[int], Work], more: Sequence[str] = ()) -> dict[str, Any]:
    """Ours against static generate, and against the peers named in more."""
    bench, work = Bench("llama", folder, asked.dtype), work_of(asked.rows)
    theirs = peers.load(bench)
    ways: Ways = {"sqlinfer": partial(bench.run, work)}
    size = _best(lambda size: peers.static(theirs, bench, work, size))
    ways[f"generate, sorted, best batch of {size}"] = partial(peers.static, theirs, bench, work, size)
    if "pipeline" in more:
        size = _best(lambda size: peers.pipeline(theirs, bench, work, size))
        ways[f"pipeline, best batch of {size}"] = partial(peers.pipeline, theirs, bench, work, size)
    if "continuous" in more:
        ways["generate_batch"] = partial(peers.continuous, theirs, bench, work)
    if "sharing" in more:
        ways["sqlinfer, sharing off"] = partial(_unshared, bench, work)
    found = _compare(ways, asked)
    peak = _peak(bench.dtype)
    achieved = bench.flops(work) / found["seconds"]["sqlinfer"]["median"] / 1e9
    found["peak"] = {"gflops": round(peak), "useful_gflops": round(achieved), "share": round(achieved / peak, 3)}
    return found


def _unshared(bench: Bench, work: Work) -> list[list[int]]:
    """Ours, each prompt read whole."""
    with mock.patch.object(segments, "LEAST_SHARED", 1 << 30):
        return bench.run(work)


def _encoder_decoder(folder: Path, asked: Any, *, shape: Any) -> dict[str, Any]:
    """Ours against static generate, greedy."""
    bench, work = Bench(shape, folder, asked.dtype), model.distinct(asked.rows)
    theirs = peers.load(bench)
    size = _best(lambda size: peers.static(theirs, bench, work, size))
    ways: Ways = {"sqlinfer": partial(bench.run, work)}
    ways[f"generate, sorted, best batch of {size}"] = partial(peers.static, theirs, bench, work, size)
    return _compare(ways, asked)


def _beams(folder: Path, asked: Any, *, shape: Any) -> dict[str, Any]:
    """Ours against static generate with 4 beams, on a model that ends its answers by itself."""
    bench, work = Bench(shape, folder, asked.dtype, ends_itself=True), model.beams(asked.rows // 4)
    theirs = peers.load(bench)
    size = _best(lambda size: peers.static(theirs, bench, work, size, 4), (4, 8, 16))
    ways: Ways = {"sqlinfer": partial(bench.run, work)}
    ways[f"generate, 4 beams, best batch of {size}"] = partial(peers.static, theirs, bench, work, size, 4)
    return _compare(ways, asked)


def _ctranslate(folder: Path, asked: Any, *, shape: Any) -> dict[str, Any]:
    """Ours against CTranslate2, greedy, all answers of 16 tokens."""
    bench, work = Bench(shape, folder, "float32"), model.flat(asked.rows)
    theirs = peers.ctranslate(bench, work)
    if theirs is None:
        return {"skipped": "CTranslate2 is not installed: pip install 'sqlinfer[peers]'"}
    return _compare({"sqlinfer": partial(bench.run, work), "CTranslate2": theirs}, asked)


def _best(run: Callable[[int], object], sizes: Sequence[int] = SIZES) -> int:
    """The batch size that takes the least time, each tried once."""

    def seconds(size: int) -> float:
        started_s = time.perf_counter()
        run(size)
        return time.perf_counter() - started_s

    return min(sizes, key=seconds)


def _compare(ways: Ways, asked: Any) -> dict[str, Any]:
    """Seconds of each way, all in turn in each round; their answers must be the same in float32."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    processor: dict[str, list[float]] = {way: [] for way in ways}
    answers: dict[str, list[list[int]]] = {}
    ways["sqlinfer"]()  # loads the weights
    for _ in range(asked.rounds):
        for way, work in ways.items():
            started_s, used_s = time.perf_counter(), time.process_time()
            answers[way] = work()
            seconds[way].append(time.perf_counter() - started_s)
            processor[way].append(time.process_time() - used_s)
    ours = answers["sqlinfer"]
    lengths = {way: [len(tokens) for tokens in each] for way, each in answers.items()}
    if not any("beams" in way for way in ways) and any(each != lengths["sqlinfer"] for each in lengths.values()):
        raise SystemExit("the answers have other numbers of tokens")
    same = {way: sum(map(list.__eq__, ours, theirs)) for way, theirs in answers.items() if way != "sqlinfer"}
    if asked.dtype == "float32" and any(count < SAME * len(ours) for count in same.values()):
        raise SystemExit(f"the answers differ: of {len(ours)} rows the same are {same}")
    medians = {way: statistics.median(took) for way, took in seconds.items()}
    return {
        "rows": len(ours),
        "tokens_written": sum(map(len, ours)),
        "seconds": {
            way: {"median": round(medians[way], 3), "least": round(min(took), 3), "most": round(max(took), 3)}
            for way, took in seconds.items()
        },
        "processor_seconds": {way: round(statistics.median(took), 3) for way, took in processor.items()},
        "speedup": {way: round(medians[way] / medians["sqlinfer"], 2) for way in ways if way != "sqlinfer"},
        "same_answers": same,
    }


def _peak(dtype: torch.dtype) -> float:
    """GFLOP/s of the fastest large matrix product that torch has here, by MKL or by oneDNN."""
    size, rates = 2048, []
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    laid_out = torch.ops.mkldnn._reorder_linear_weight(right, size)
    products = (
        lambda: left @ right.T,
        lambda: torch.ops.mkldnn._linear_pointwise(left, laid_out, None, "none", [], ""),
    )
    for _ in range(8):
        for product in products:
            started_s = time.perf_counter()
            product()
            rates.append(2 * size**3 / (time.perf_counter() - started_s) / 1e9)
    return max(rates)


def _report(name: str, found: dict[str, Any]) -> None:
    print(f"{name}: " + (found["skipped"] if "skipped" in found else f"{found.get('rows', '')} rows"))
    for way, took in found.get("seconds", {}).items():
        ratio = found["speedup"].get(way)
        said = f"{ratio:>8.2f}x" if ratio else " " * 9
        used = f"{found['processor_seconds'][way]:>9.3f} of the processor" if "processor_seconds" in found else ""
        print(f"  {way:42}{took['median']:>9.3f} s  ({took['least']:.3f} to {took['most']:.3f}){said}{used}")
    for key in ("peak", "same_answers", "figures"):
        if key in found:
            print(f"  {key.replace('_', ' ')}: {json.dumps(found[key])}")
    print(flush=True)


WORKLOADS: dict[str, Callable[[Path, Any], dict[str, Any]]] = {
    "distinct": partial(_decoder, work_of=model.distinct, more=("pipeline",)),
    "flat": partial(_decoder, work_of=model.flat, more=("continuous",)),
    "template": partial(_decoder, work_of=model.template, more=("sharing",)),
    "t5": partial(_encoder_decoder, shape="t5"),
    "bart": partial(_encoder_decoder, shape="bart"),
    "t5-beams": partial(_beams, shape="t5"),
    "bart-beams": partial(_beams, shape="bart"),
    "t5-ctranslate2": partial(_ctranslate, shape="t5"),
    "bart-ctranslate2": partial(_ctranslate, shape="bart"),
}
