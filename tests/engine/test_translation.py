"""A model that was trained to translate is asked in its own way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from sqlinfer import Parameters, Request
from sqlinfer.engine import open_engine
from sqlinfer.store import Store
from sqlinfer.types import Completion
from tools.random_models import build

PAIRS = {"en_to_de": ("English", "German"), "en_to_fr": ("English", "French"), "de_to_fr": ("German", "French")}


@pytest.fixture
def translator(tmp_path: Path) -> Path:
    """A T5 with random weights and the prefixes of one that translates."""
    folder = build("t5", tmp_path / "t5")
    config = json.loads((folder / "config.json").read_text())
    config["task_specific_params"] = {
        f"translation_{key}": {"prefix": f"translate {source} to {target}: "} for key, (source, target) in PAIRS.items()
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("languages", "prompt"),
    [
        (("German",), "translate English to German: Hello"),
        (("german ",), "translate English to German: Hello"),
        (("German", "French"), "translate German to French: Hello"),
        ((), "Translate it.\n\nHello"),
    ],
)
def test_a_translation_has_the_prefix_of_its_languages(
    translator: Path, home: Path, languages: tuple[str, ...], prompt: str
) -> None:
    with Store(home) as store:
        engine = open_engine(store.registry.get(str(translator)))
    assert engine.read_prompt(Request("Hello", instruction="Translate it.", languages=languages)) == prompt


@pytest.mark.parametrize("languages", [("Spanish",), ("French", "German"), ("French",)])
def test_languages_that_a_model_was_not_trained_for_fail_the_row(
    translator: Path, home: Path, languages: tuple[str, ...]
) -> None:
    with Store(home) as store:
        engine = open_engine(store.registry.get(str(translator)))
    (completion,) = engine.generate([Request("Hello", instruction="Translate it.", languages=languages)])
    assert isinstance(completion, Completion)
    assert "was trained to translate English to German, English to French, German to French, and not" in str(
        completion.error
    )


@pytest.mark.parametrize("known_by", ["its tokenizer's class", "its tokens"])
def test_a_model_that_takes_languages_as_codes_refuses_the_row(tmp_path: Path, home: Path, known_by: str) -> None:
    folder = build("bart", tmp_path / "bart")
    if known_by == "its tokens":
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_tokens(["__en__", "__de__"], special_tokens=True)
        tokenizer.save_pretrained(folder)
    else:
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "tokenizer_class": "NllbTokenizer"}))
    with Store(home) as store:
        engine = open_engine(store.registry.get(str(folder)))
    asked = Request("Hello", instruction="Translate it.", languages=("German",), parameters=Parameters(max_tokens=1))
    (refused,) = engine.generate([asked])
    assert "takes languages as codes, which ai_translate does not know" in str(refused.error)
    (answered,) = engine.generate([replace(asked, languages=())])
    assert answered.error is None
