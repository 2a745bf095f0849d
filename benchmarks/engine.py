"""The engine against its peers: decoders, shared prefixes, T5 and BART, repeated rows, whole runs, long answers.

Usage: python -m benchmarks engine [WORKLOAD ...] [--device cuda] [--model qwen3-0.6b] [--rows N] [--dtype float32]
[--rounds 3]. Models have random weights: about 60M parameters on the CPU, a published model's shape on a GPU. Where an
answer ends is drawn beforehand, and neither the engine nor a peer knows it. Peer and engine run in turn, each peer with
the best of its batch sizes; in float32 the answers must be the same. Prints a table for each workload, then one line of
JSON. Beside the clock's seconds stand those of the processor, which other work on the machine disturbs less; with
OMP_NUM_THREADS=1 no thread spins in them.
"""

from __future__ import annotations

import argparse
import gc
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
from sqlinfer.engine.cache import prefix_tree
from sqlinfer.engine.model.device import cache_bytes_per_token

SIZES = {"cpu": (16, 32, 64), "cuda": (64, 128, 256)}
DTYPE_HELP = "float32 on the CPU, bfloat16 on a GPU; int8 is ours alone, beside peers in bfloat16"
SAME = 0.99  # of the rows: two tokens that are equally likely to the last digit may change places
Ways = dict[str, Callable[[], list[list[int]]]]


def main(argv: Sequence[str]) -> None:
    """Time the workloads that are named, or all, and print."""
    options = _parse(argv)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
    machine = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    machine += f", {torch.cuda.get_device_name()}" if options.device == "cuda" else ""
    print(f"{versions}, {machine}; {options.model}, {options.dtype}, medians of {options.rounds} rounds\n")
    result: dict[str, Any] = {
        "dtype": options.dtype,
        "device": options.device,
        "model": options.model,
        "rows": options.rows,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in options.workload:
            run = WORKLOADS.get(name) or WHOLE[name]
            result[name] = run(Path(folder), options)
            _report(name, result[name])
            gc.collect()  # the engine's memory goes back
    print(json.dumps(result))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks engine", description=__doc__)
    parser.add_argument("workload", nargs="*", metavar="WORKLOAD")
    parser.add_argument("--rows", type=int, default=256, help="requests of each workload")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "int8"], help=DTYPE_HELP)
    parser.add_argument("--device", default="cpu", choices=list(SIZES))
    parser.add_argument("--model", choices=model.MODELS, help="the decoder")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    on_gpu = options.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        parser.error("there is no CUDA device")
    names = [*WORKLOADS, *WHOLE]
    if unknown := [name for name in options.workload if name not in names]:
        parser.error(f"no workload {unknown[0]}; there are {', '.join(names)}")
    options.workload = options.workload or [name for name in names if name not in (ON_CPU if on_gpu else ON_GPU)]
    options.dtype = options.dtype or ("bfloat16" if on_gpu else "float32")
    options.model = options.model or ("qwen3-0.6b" if on_gpu else "60m")
    return options


def _decoder(folder: Path, options: Any, *, work_of: Callable[[int], Work], more: Sequence[str] = ()) -> dict[str, Any]:
    """Ours against static generate, and against the peers named in more."""
    bench, work = Bench(None, folder, options), work_of(options.rows)
    theirs = peers.load(bench)
    ways: Ways = {"sqlinfer": partial(bench.run, work)}
    size = _best(lambda size: peers.static(theirs, bench, work, size), SIZES[options.device])
    ways[f"generate, sorted, best batch of {size}"] = partial(peers.static, theirs, bench, work, size)
    if "pipeline" in more:
        size = _best(lambda size: peers.pipeline(theirs, bench, work, size), SIZES[options.device])
        ways[f"pipeline, best batch of {size}"] = partial(peers.pipeline, theirs, bench, work, size)
    if "continuous" in more:
        ways["generate_batch"] = partial(peers.continuous, theirs, bench, work)
    if "sharing" in more:
        ways["sqlinfer, sharing off"] = partial(_unshared, bench, work)
    result = _compare(ways, options)
    peak = _peak(bench.dtype, options.device)
    achieved = bench.flops(work) / result["seconds"]["sqlinfer"]["median"] / 1e9
    result["peak"] = {"gflops": round(peak), "useful_gflops": round(achieved), "share": round(achieved / peak, 3)}
    return result


def _unshared(bench: Bench, work: Work) -> list[list[int]]:
    """Ours, each prompt prefilled whole."""
    with mock.patch.object(prefix_tree, "MIN_SHARED", 1 << 30):
        return bench.run(work)


def _encoder_decoder(folder: Path, options: Any, *, shape: Any) -> dict[str, Any]:
    """Ours against static generate, greedy."""
    bench, work = Bench(shape, folder, options), model.distinct(options.rows)
    theirs = peers.load(bench)
    size = _best(lambda size: peers.static(theirs, bench, work, size), SIZES[options.device])
    ways: Ways = {"sqlinfer": partial(bench.run, work)}
    ways[f"generate, sorted, best batch of {size}"] = partial(peers.static, theirs, bench, work, size)
    return _compare(ways, options)


def _beams(folder: Path, options: Any, *, shape: Any) -> dict[str, Any]:
    """Ours against static generate with 4 beams, on a model that ends its answers by itself."""
    bench, work = Bench(shape, folder, options, ends_itself=True), model.beams(options.rows // 4)
    theirs = peers.load(bench)
    size = _best(lambda size: peers.static(theirs, bench, work, size, 4), [size // 4 for size in SIZES[options.device]])
    ways: Ways = {"sqlinfer": partial(bench.run, work)}
    ways[f"generate, 4 beams, best batch of {size}"] = partial(peers.static, theirs, bench, work, size, 4)
    return _compare(ways, options)


def _ctranslate(folder: Path, options: Any, *, shape: Any) -> dict[str, Any]:
    """Ours against CTranslate2, greedy, all answers of 16 tokens."""
    float32 = argparse.Namespace(dtype="float32", device="cpu", model=options.model)
    bench, work = Bench(shape, folder, float32), model.flat(options.rows)
    theirs = peers.ctranslate(bench, work)
    if theirs is None:
        return {"skipped": "CTranslate2 is not installed: pip install 'sqlinfer[peers]'"}
    return _compare({"sqlinfer": partial(bench.run, work), "CTranslate2": theirs}, options)


def _best(run: Callable[[int], object], sizes: Sequence[int]) -> int:
    """The batch size that takes the least time, each tried once."""

    def seconds(size: int) -> float:
        started_s = time.perf_counter()
        run(size)
        return time.perf_counter() - started_s

    return min(sizes, key=seconds)


def _compare(ways: Ways, options: Any) -> dict[str, Any]:
    """Seconds of each way, all in turn in each round; their answers must be the same in float32."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    processor: dict[str, list[float]] = {way: [] for way in ways}
    answers: dict[str, list[list[int]]] = {}
    ways["sqlinfer"]()  # loads the weights
    for _ in range(options.rounds):
        for way, work in ways.items():
            started_s, used_s = time.perf_counter(), time.process_time()
            answers[way] = work()
            seconds[way].append(time.perf_counter() - started_s)
            processor[way].append(time.process_time() - used_s)
    ours = answers["sqlinfer"]
    lengths = {way: [len(tokens) for tokens in outputs] for way, outputs in answers.items()}
    if not any("beams" in way for way in ways) and any(of_way != lengths["sqlinfer"] for of_way in lengths.values()):
        raise SystemExit("the answers have other numbers of tokens")
    same = {way: sum(map(list.__eq__, ours, theirs)) for way, theirs in answers.items() if way != "sqlinfer"}
    if options.dtype == "float32" and any(count < SAME * len(ours) for count in same.values()):
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


def _peak(dtype: torch.dtype, device: str) -> float:
    """GFLOP/s of the fastest large matmul that torch has here; on the CPU by MKL or by oneDNN."""
    size = 2048 if device == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    matmuls = [lambda: left @ right.T]
    if device == "cpu":
        packed = torch.ops.mkldnn._reorder_linear_weight(right, size)
        matmuls.append(lambda: torch.ops.mkldnn._linear_pointwise(left, packed, None, "none", [], ""))
    return max(2 * size**3 / _seconds(matmul, device) / 1e9 for _ in range(8) for matmul in matmuls)


def _seconds(work: Callable[[], object], device: str) -> float:
    """Of work that may go on after it returns."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    started_s = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started_s


def _long(folder: Path, options: Any) -> dict[str, Any]:
    """Long prompts and answers: tokens a second, and the share of what the memory's speed allows.

    In each step the weights and the keys and values of all rows are read once, which takes no less time than to copy
    half as many bytes.
    """
    bench, work = Bench(None, folder, options), model.long(options.rows)
    result = _compare({"sqlinfer": partial(bench.run, work)}, options)
    bytes_of = {"weights": sum(part.nbytes for part in bench.engine.loaded.model.parameters()) * max(work.ends)}
    bytes_per_token = cache_bytes_per_token(bench.engine.loaded.config, bench.dtype)
    lengths = [(len(row.prompt), end) for row, end in zip(bench.rows(work), work.ends, strict=True)]
    bytes_of["keys and values"] = bytes_per_token * sum(end * prompt + end * end // 2 for prompt, end in lengths)
    source = torch.empty(1 << (32 if options.device == "cuda" else 27), dtype=torch.uint8, device=options.device).fill_(
        1
    )
    target = torch.empty_like(source)
    copied = max(2 * source.nbytes / _seconds(lambda: target.copy_(source), options.device) for _ in range(8))
    seconds = result["seconds"]["sqlinfer"]["median"]
    result["figures"] = {
        "tokens_a_second": round(result["tokens_written"] / seconds, 1),
        "gb_a_second_of_a_copy": round(copied / 1e9),
        "share_of_the_bound": round(sum(bytes_of.values()) / copied / seconds, 3),
    }
    return result


def _report(name: str, result: dict[str, Any]) -> None:
    print(f"{name}: " + (result["skipped"] if "skipped" in result else f"{result.get('rows', '')} rows"))
    for way, took in result.get("seconds", {}).items():
        ratio = result["speedup"].get(way)
        speedup = f"{ratio:>8.2f}x" if ratio else " " * 9
        used = f"{result['processor_seconds'][way]:>9.3f} of the processor" if "processor_seconds" in result else ""
        print(f"  {way:42}{took['median']:>9.3f} s  ({took['least']:.3f} to {took['most']:.3f}){speedup}{used}")
    for key in ("peak", "same_answers", "figures"):
        if key in result:
            print(f"  {key.replace('_', ' ')}: {json.dumps(result[key])}")
    print(flush=True)


WORKLOADS: dict[str, Callable[[Path, Any], dict[str, Any]]] = {
    "distinct": partial(_decoder, work_of=model.distinct, more=("pipeline",)),
    "flat": partial(_decoder, work_of=model.flat, more=("continuous",)),
    "long": _long,
    "template": partial(_decoder, work_of=model.template, more=("sharing",)),
    "t5": partial(_encoder_decoder, shape="t5"),
    "bart": partial(_encoder_decoder, shape="bart"),
    "t5-beams": partial(_beams, shape="t5"),
    "bart-beams": partial(_beams, shape="bart"),
    "t5-ctranslate2": partial(_ctranslate, shape="t5"),
    "bart-ctranslate2": partial(_ctranslate, shape="bart"),
}
ON_GPU = ("long",)  # only there by default, and the others only on the CPU
ON_CPU = ("t5-ctranslate2", "bart-ctranslate2")
