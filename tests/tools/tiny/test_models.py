"""The built-in models are small, load by the ordinary path, and answer as well as their cards say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sqlinfer.engine import BUILTINS, DEFAULTS, WEIGHTS, open_engine
from tools.tiny.evaluate import Result, evaluate, summaries

CARDS = Path(__file__).parents[3] / "docs" / "models"
NUM_ROWS = 100
SPREAD = 0.06
"""How far a share of 100 questions may lie below the share of all questions in the card: twice its standard error."""


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return list(evaluate(WEIGHTS, NUM_ROWS))


def test_each_model_is_at_most_eight_megabytes() -> None:
    for version in BUILTINS.values():
        size = sum(file.stat().st_size for file in version.path.rglob("*") if file.is_file())
        assert 1e6 < size < 8e6, version.name


def test_every_default_is_a_model_that_is_there() -> None:
    assert set(DEFAULTS.values()) == set(BUILTINS)
    for version in BUILTINS.values():
        assert list(version.path.glob("*.safetensors"))
        assert not list(version.path.glob("*.bin"))


def test_the_models_answer_as_well_as_their_cards_say(results: list[Result]) -> None:
    for result in results:
        assert result.value >= _in_card(result) - SPREAD, result


def test_the_cards_say_the_measured_value_of_every_task(results: list[Result]) -> None:
    assert {result.model for result in results} == {card.stem for card in CARDS.glob("*.md")}
    for result in results:
        assert _in_card(result) > 0


def test_no_summary_repeats_itself() -> None:
    answers = [answer for _, answer in summaries(open_engine(BUILTINS["sqlinfer/tiny-summarizer"]), 2 * NUM_ROWS)]
    assert not [answer for answer in answers if re.search(r"(.{2,})\1\1", answer) or not answer.endswith(".")]


def _in_card(result: Result) -> float:
    card = (CARDS / f"{result.model}.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {re.escape(result.task)} \|.*\| ([\d.]+) \|$", card, flags=re.M)
    return float(row)
