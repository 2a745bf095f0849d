"""The recipes make models that the engine loads; a few steps show that, and that the loss falls."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from sqlinfer.engine import open_engine
from sqlinfer.types import ModelVersion, Request
from tools.random_models import Shape, Size, build_tokenizer
from tools.tiny import decoder, embedder, summarizer
from tools.tiny.questions import write_question
from tools.tiny.summarizer import Round

TEXTS = [write_question(Random(number)).request.text for number in range(50)]


def tokenizer(shape: Shape) -> Any:
    return build_tokenizer(shape, Size(vocabulary=400, positions=512), TEXTS)


def answer(model: Any, words: Any, folder: Path, request: Request) -> object:
    model.half().save_pretrained(folder)
    words.save_pretrained(folder)
    version = ModelVersion("new", 0, str(folder), folder, "", dtype="float32")
    (completion,) = open_engine(version).generate([request])
    assert completion.error is None
    return completion.output


def test_the_decoders_recipe_makes_a_model_that_answers(tmp_path: Path) -> None:
    words = tokenizer("llama")
    model = decoder.train(words, rounds=((2, 1e-3), (1, 1e-4)))
    assert answer(model, words, tmp_path, write_question(Random(0)).request) is not None


def test_the_summarizers_recipe_makes_a_model_that_answers(tmp_path: Path) -> None:
    words = tokenizer("t5")
    model = summarizer.train(words, rounds=(Round(1, 1e-3, points=False), Round(2, 1e-3, points=True)))
    assert answer(model, words, tmp_path, Request(TEXTS[0], task="summarize")) is not None


def test_the_embedders_recipe_gives_unit_vectors_whatever_stands_beside_a_text() -> None:
    words = tokenizer("bert")
    model = embedder.train(words, num_steps=2)
    rows = words(TEXTS[:4])["input_ids"]
    with torch.no_grad():
        vectors = embedder.embed(model, rows)
        alone = embedder.embed(model, rows[:1])
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(4))
    torch.testing.assert_close(vectors[:1], alone, atol=1e-5, rtol=0)


def test_the_loss_falls(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.tiny.fit._SAY_EVERY", 5)
    embedder.train(tokenizer("bert"), num_steps=20)
    said = capsys.readouterr().err.splitlines()
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in said]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
