"""Classification by scored labels against transformers' decision pipeline and against generating the label.

Usage: python -m benchmarks classify [NUM_PROMPTS]. A llama of 60M parameters and more with random weights, float32, on
the CPU; texts of 5 to 60 words, then titles of 2 to 8. The peer reads the logits of four one-token labels, one prompt
at a time, as it is built to; it and we get the same prompts, and must choose the same labels. Words of several tokens
as labels we score and we generate. Prints a table for each, then one line of JSON.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers

from sqlinfer.engine import open_engine
from sqlinfer.engine.cache.prefix_tree import build_prefix_tree
from sqlinfer.functions import load_functions
from sqlinfer.types import Choose, CountTokens, Generate, ModelVersion, Parameters, Probabilities
from tools.random_models import TEXT, Size, build

SIZE = Size(hidden=640, num_layers=12, num_heads=10, num_key_value_heads=5, vocabulary=8192, positions=1024)
LETTERS = ("A", "B", "C", "D")
WORDS = ("billing", "late delivery", "product quality", "account access")
WORKLOADS = {"texts": (5, 60), "titles": (2, 8)}  # words of each
ROUNDS = 3


def main(argv: Sequence[str]) -> None:
    """Time peer and ours in turn, and print."""
    num_prompts = int(argv[0]) if argv else 256
    print(
        f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads; rows a second, median of {ROUNDS} rounds in turn"
    )
    found: dict[str, Any] = {"prompts": num_prompts}
    with tempfile.TemporaryDirectory() as folder:
        version = ModelVersion("bench", 1, folder, build("llama", folder, size=SIZE), "bench", dtype="float32")
        found["parameters"] = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors")) // 4
        engine = open_engine(version, device="cpu")
        for name, words in WORKLOADS.items():
            found[name] = _compare(engine, folder, _texts(num_prompts, *words))
            _report(name, found[name], num_prompts)
    print(json.dumps(found))


def _compare(engine: Any, folder: str, texts: list[str]) -> dict[str, Any]:
    letters, words = _requests(texts, LETTERS), _requests(texts, WORDS)
    tokens = 1 + max(engine.count_prompt_tokens([CountTokens(word) for word in WORDS]))
    generated = [Generate(r.text, r.instruction, parameters=Parameters(max_tokens=tokens), key=r.key) for r in words]
    decide = _pipeline(engine, folder, letters[0].instruction)
    ways: dict[str, Callable[[], list[str]]] = {
        "decision pipeline, letters": lambda: [decide(text) for text in texts],
        "scored, letters": lambda: _answers(engine, letters),
        "generated, words": lambda: _answers(engine, generated),
        "scored, words": lambda: _answers(engine, words),
    }
    seconds, chosen = _time(ways)
    same = sum(a == b for a, b in zip(chosen["decision pipeline, letters"], chosen["scored, letters"], strict=True))
    if same != len(texts):
        raise SystemExit(f"the peer and we chose other labels: {same} of {len(texts)} are the same")
    prompts = [row.prompt for row in engine.loaded.prompts.prepare(words)]
    rates = {way: _rates(len(texts), took) for way, took in seconds.items()}
    return {
        "prompt_tokens": [min(map(len, prompts)), round(statistics.mean(map(len, prompts))), max(map(len, prompts))],
        "own_tokens": round(sum(len(s.tokens) for s in build_prefix_tree(prompts, [], None)[0]) / len(prompts), 1),
        "label_tokens": tokens,
        "same_labels": same,
        "distinct_labels": len(set(chosen["scored, letters"])),
        "rows_per_s": rates,
        "speedup_pipeline": _ratio(rates, "scored, letters", "decision pipeline, letters"),
        "speedup_generated": _ratio(rates, "scored, words", "generated, words"),
    }


def _texts(count: int, least: int, most: int) -> list[str]:
    """Texts of least to most words, all different, the short ones more common."""
    source = random.Random(7)
    words = " ".join(TEXT).split()
    return [
        " ".join(source.choices(words, k=least + int((most - least) * source.random() ** 2))) + f" {i}"
        for i in range(count)
    ]


def _requests(texts: list[str], labels: tuple[str, ...]) -> list[Choose]:
    ask = load_functions()["ai_classify"].ask
    first = [next(ask(text, list(labels)))[0] for text in texts]
    return [replace(request, key=str(i).encode()) for i, request in enumerate(first)]


def _answers(engine: Any, requests: Sequence[Choose | Generate]) -> list[str]:
    """What the engine answers, in the order asked: the likeliest label, or the generated text."""
    outputs = [c.output for c in sorted(engine.generate(requests), key=lambda c: int(c.request.key))]
    return [output.best if isinstance(output, Probabilities) else output for output in outputs]


def _pipeline(engine: Any, folder: str, instruction: str) -> Callable[[str], str]:
    """transformers' pipeline on the same weights, with the very prompt that ours has."""
    from transformers.decision import DecisionConfig

    prompt = engine.loaded.prompts.render(Generate("TEXT", instruction), "TEXT")
    config = DecisionConfig(
        labels={"choice": list(LETTERS)},
        chat_template=prompt.replace("TEXT", "{{ state }}") + "{# {{ question }} #}{% if question %}{% endif %}",
    )
    with torch.inference_mode():
        decide = transformers.pipeline(
            "decision", model=folder, decision_config=config, dtype=torch.float32, device="cpu"
        )
    questions = {"label": {"type": "choice", "criteria": dict.fromkeys(LETTERS)}}

    def one(text: str) -> str:
        with torch.inference_mode():
            return str(decide({"state": text, "questions": questions})["label"]["choice"])

    return one


def _time(ways: dict[str, Callable[[], list[str]]]) -> tuple[dict[str, list[float]], dict[str, list[str]]]:
    """Seconds of each way, all ways in turn in each round; and what each one answered."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    answers = {}
    for _ in range(ROUNDS):
        for way, work in ways.items():
            started_s = time.perf_counter()
            answers[way] = work()
            seconds[way].append(time.perf_counter() - started_s)
    return seconds, answers


def _rates(num_prompts: int, seconds: list[float]) -> dict[str, float]:
    rates = [num_prompts / took for took in seconds]
    return {"median": round(statistics.median(rates), 1), "least": round(min(rates), 1), "most": round(max(rates), 1)}


def _report(name: str, found: dict[str, Any], num_prompts: int) -> None:
    least, mean, most = found["prompt_tokens"]
    print(
        f"\n{name}: {num_prompts} prompts of {least} to {most} tokens, mean {mean}, of which {found['own_tokens']} are"
    )
    print(f"read for each row; labels of one token, or of up to {found['label_tokens'] - 1} and an end")
    for way, rate in found["rows_per_s"].items():
        print(f"{way:28}{rate['median']:>8.1f}  ({rate['least']:.1f} to {rate['most']:.1f})")
    print(f"scored / pipeline   {found['speedup_pipeline']:.2f}x, equal labels {found['same_labels']}")
    print(f"scored / generated  {found['speedup_generated']:.2f}x", flush=True)


def _ratio(rates: dict[str, dict[str, float]], way: str, peer: str) -> float:
    return round(rates[way]["median"] / rates[peer]["median"], 2)


if __name__ == "__main__":
    main(sys.argv[1:])
