"""How well the built-in models answer: python -m tools.tiny.evaluate [--rows N] [--folder FOLDER].

Texts, brand names, label sets and, in the last rows, wordings are such as training never shows. The models run in the
engine as in any query.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from sqlinfer.engine import BUILTINS, WEIGHTS, open_engine
from sqlinfer.types import AnyRequest, Engine, Output, Probabilities, TextOrBlob
from tools.tiny import questions
from tools.tiny.questions import HeldOut, Question, ask
from tools.tiny.texts import Text, write_text

SEED = 1_000_003
UNSEEN = HeldOut(brands=True, label_sets=False)
UNSEEN_LABELS = HeldOut(brands=True, label_sets=True)
REWORDED = HeldOut(brands=True, wordings=True)
FIELDS = ("product", "price", "city", "order number")


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table: what was measured on how many questions, the bar and the measured share or mean."""

    task: str
    model: str
    num_rows: int
    bar: float
    value: float


def main() -> None:
    """Print the table; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m tools.tiny.evaluate", description=__doc__)
    parser.add_argument("--rows", type=int, default=500, help="questions of each kind (500)")
    parser.add_argument("--folder", type=Path, default=WEIGHTS, help="where the models lie; the package by default")
    words = parser.parse_args()
    print("| task, on what training never shows | model | questions | bar | measured |")
    print("| --- | --- | --- | --- | --- |")
    results = []
    for result in evaluate(words.folder, words.rows):
        results.append(result)
        values = f"{result.num_rows} | {result.bar:.2f} | {result.value:.3f}"
        print(f"| {result.task} | {result.model} | {values} |", flush=True)
    print(json.dumps({f"{r.model}: {r.task}": round(r.value, 4) for r in results}))


def evaluate(folder: Path, num_rows: int) -> Iterator[Result]:
    """The rows of the table, in order."""
    tiny, summarizer, embedder = (_engine(folder, name) for name in ("tiny", "tiny-summarizer", "tiny-embed"))
    accuracies = (
        ("sentiment", questions.sentiment, UNSEEN, 0.95),
        ("classify, label sets as in training", questions.classify, UNSEEN, 0.95),
        ("classify, label sets not seen together", questions.classify, UNSEEN_LABELS, 0.95),
        ("yes/no filter", questions.condition, UNSEEN, 0.95),
    )
    for task, make, held_out, bar in accuracies:
        yield Result(task, "tiny", num_rows, bar, accuracy(tiny, _write(make, held_out, num_rows)))
    for field, share in extraction(tiny, num_rows).items():
        bar = 0.85 if field == "product" else 0.92
        shown = f"extract {field}" + (" with a brand name never seen" if field == "product" else "")
        yield Result(shown, "tiny", num_rows, bar, share)
    yield Result("summary, ROUGE-L", "tiny", num_rows, 0.75, rouge_l(tiny, num_rows))
    yield Result("summary, ROUGE-L", "tiny-summarizer", num_rows, 0.75, rouge_l(summarizer, num_rows))
    yield Result(
        "summary, product with a brand name never seen", "tiny-summarizer", num_rows, 0.85, naming(summarizer, num_rows)
    )
    yield Result("similarity, same kind of product first", "tiny-embed", num_rows, 0.90, ranking(embedder, num_rows))
    reworded = (
        ("classify", questions.classify),
        ("yes/no filter", questions.condition),
        ("extract, all fields right", questions.extract),
        ("one fact", questions.fact),
        ("summary, word for word", questions.summary),
    )
    for task, make in reworded:
        value = accuracy(tiny, _write(make, REWORDED, num_rows))
        yield Result(f"{task}, wording never seen", "tiny", num_rows, 0.85, value)


def accuracy(engine: Engine, written: Sequence[Question]) -> float:
    """The share of questions whose answer is right to the letter."""
    answers = _answers(engine, [question.request for question in written])
    right = [_chosen(answer) == q.answer for answer, q in zip(answers, written, strict=True)]
    return sum(right) / len(right)


def extraction(engine: Engine, num_rows: int) -> dict[str, float]:
    """Of each field, the share of values that are right; null is right where the text does not tell."""
    rng = Random(SEED)
    texts = [write_text(rng, held_out=True) for _ in range(num_rows)]
    answers = _answers(engine, [ask("ai_extract", text=text.body, fields=list(FIELDS)) for text in texts])
    right = dict.fromkeys(FIELDS, 0)
    for text, answer in zip(texts, answers, strict=True):
        values = _parsed(str(answer))
        for field in FIELDS:
            right[field] += field in values and values[field] == getattr(text.facts, field.removesuffix(" number"))
    return {field: count / num_rows for field, count in right.items()}


def rouge_l(engine: Engine, num_rows: int) -> float:
    """The mean ROUGE-L (F measure) of summaries."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer, pairs = RougeScorer(["rougeL"]), summaries(engine, num_rows)
    return float(np.mean([scorer.score(text.facts.summary, answer)["rougeL"].fmeasure for text, answer in pairs]))


def naming(engine: Engine, num_rows: int) -> float:
    """The share of summaries that say the product to the letter."""
    return float(np.mean([f" {text.facts.product}" in answer for text, answer in summaries(engine, num_rows)]))


def summaries(engine: Engine, num_rows: int) -> list[tuple[Text, str]]:
    """Texts and what the engine makes of them."""
    rng = Random(SEED)
    texts = [write_text(rng, held_out=True) for _ in range(num_rows)]
    answers = _answers(engine, [ask("summarize", text=text.body) for text in texts])
    return list(zip(texts, answers, strict=True))


def ranking(engine: Engine, num_rows: int) -> float:
    """Of three texts, two of them on one kind of product: the share where these two are nearer than the third."""
    rng = Random(SEED)
    texts = []
    for _ in range(num_rows):
        first, same, other = (write_text(rng, held_out=True) for _ in range(3))
        while same.facts.kind != first.facts.kind:
            same = write_text(rng, held_out=True)
        while other.facts.kind == first.facts.kind:
            other = write_text(rng, held_out=True)
        texts += [first.body, same.body, other.body]
    vectors = np.array(
        _answers(engine, [ask("ai_embed", text=TextOrBlob.of(text)) for text in texts]), dtype=np.float64
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    firsts, sames, others = vectors[::3], vectors[1::3], vectors[2::3]
    return float(np.mean((firsts * sames).sum(1) > (firsts * others).sum(1)))


def _engine(folder: Path, name: str) -> Engine:
    return open_engine(replace(BUILTINS[f"sqlinfer/{name}"], path=folder / name))


def _write(make: Callable[[Random, HeldOut], Question], held_out: HeldOut, num_rows: int) -> list[Question]:
    return [make(Random(SEED + row), held_out) for row in range(num_rows)]


def _answers(engine: Engine, requests: Sequence[AnyRequest]) -> list[Any]:
    """The outputs in the order of the requests, None for one that failed."""
    outputs = {id(completion.request): completion.output for completion in engine.generate(requests)}
    return [outputs[id(request)] for request in requests]


def _chosen(output: Output | None) -> object:
    """The likeliest choice where the answer is scored, else the text itself."""
    return output.best if isinstance(output, Probabilities) else output


def _parsed(answer: str) -> dict[str, object]:
    try:
        parsed = json.loads(answer)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


if __name__ == "__main__":
    main()
