"""Makes the built-in models again from nothing: python -m tools.tiny.train [--folder FOLDER] [NAME ...]."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import torch

from sqlinfer.engine import WEIGHTS
from sqlinfer.engine.model.weights import quiet
from tools.random_models import Size, build_tokenizer, write_sentence_transformer
from tools.tiny import decoder, embedder, summarizer
from tools.tiny.questions import write_question

VOCABULARY = 2048
_NUM_TEXTS = 5000
"""Texts that the tokenizer learns from."""


def _decoder(folder: Path) -> None:
    tokenizer = build_tokenizer("llama", Size(vocabulary=VOCABULARY, positions=1024), _texts(), decoder.splits())
    _save(decoder.train(tokenizer), tokenizer, folder)


def _summarizer(folder: Path) -> None:
    tokenizer = build_tokenizer("t5", Size(vocabulary=VOCABULARY, positions=512), _texts())
    _save(summarizer.train(tokenizer), tokenizer, folder)


def _embedder(folder: Path) -> None:
    size = Size(vocabulary=VOCABULARY, positions=embedder.POSITIONS, hidden=embedder.WIDTH)
    tokenizer = build_tokenizer("bert", size, _texts())
    _save(embedder.train(tokenizer), tokenizer, folder)
    write_sentence_transformer(folder, size)


RECIPES: Mapping[str, Callable[[Path], None]] = {
    "tiny": _decoder,
    "tiny-summarizer": _summarizer,
    "tiny-embed": _embedder,
}


def main() -> None:
    """Train the models that are named, or all; existing files of theirs are replaced."""
    parser = argparse.ArgumentParser(prog="python -m tools.tiny.train", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(RECIPES)}; all if none is given")
    parser.add_argument("--folder", type=Path, default=WEIGHTS, help="where they go; the package by default")
    words = parser.parse_args()
    if unknown := set(words.names) - set(RECIPES):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    for name in words.names or RECIPES:
        print(f"{name}:", file=sys.stderr)
        started_s, before_s = time.perf_counter(), time.process_time()
        with quiet():
            RECIPES[name](words.folder / name)
        took_s, cpu_s = time.perf_counter() - started_s, time.process_time() - before_s
        print(f"{name}: {took_s / 60:.1f} min, {cpu_s / 60:.1f} min of CPU time, {torch.get_num_threads()} threads")


def _texts() -> list[str]:
    rng = Random(-1)
    questions = (write_question(rng) for _ in range(_NUM_TEXTS))
    return [f"{q.request.instruction}\n\n{q.request.text}\n{q.answer}" for q in questions]


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Half precision halves the files; what runs is single precision again."""
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
