"""Several questions about one text as the turns of one chat: reading the text is paid once, and taught many times.

The first turn is a question just as a SQL function asks it; those that follow are about the same text and brief.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tools.tiny import wordings, words
from tools.tiny.conditions import CONDITIONS
from tools.tiny.questions import FIELDS, Question, write_question
from tools.tiny.texts import SENTIMENTS, Facts


@dataclass(frozen=True, slots=True)
class Turn:
    """A message, the right answer, and the fact that the answer rests on (a name as in Text.ends, or "")."""

    message: str
    answer: str
    fact: str = ""


@dataclass(frozen=True, slots=True)
class Chat:
    """A question, and what is asked next about its text."""

    first: Question
    turns: tuple[Turn, ...]


def write_chat(rng: Random, num_turns: int) -> Chat:
    """A question of any task, and num_turns more about its text."""
    first = write_question(rng)
    turns = (rng.choice(_FOLLOW_UPS)(rng, first.text.facts) for _ in range(num_turns))
    return Chat(first, tuple(turns))


def _fact(rng: Random, facts: Facts) -> Turn:
    names = (*FIELDS, "mood")
    present = [name for name in names if getattr(facts, name)]
    name = rng.choice(present if rng.random() < 0.5 else names)
    value, fact = getattr(facts, name) or "null", name if name in ("mood", "city") else ""
    if name in wordings.QUESTIONS and value != "null" and rng.random() < 0.5:
        return Turn(rng.choice(wordings.QUESTIONS[name][0]), value, fact)
    return Turn(f"{rng.choice(FIELDS.get(name, (name,))).removesuffix(' (number)')}?", value, fact)


def _condition(rng: Random, facts: Facts) -> Turn:
    holds = rng.random() < 0.5
    while (drawn := rng.choice(CONDITIONS)(rng, facts, holds, False)) is None:
        pass
    fact, condition = drawn
    return Turn(_worded(rng, wordings.FILTERS, f"{condition}?", condition), "yes" if holds else "no", fact)


def _label(rng: Random, facts: Facts) -> Turn:
    truth, family = (facts.concern, words.CONCERNS) if facts.concern else (facts.sentiment, SENTIMENTS)
    others = [label for label in family if label != truth]
    labels = [truth, *rng.sample(others, rng.randint(1, 3))]
    rng.shuffle(labels)
    listed = ", ".join(labels)
    return Turn(_worded(rng, wordings.CLASSIFIERS, f"{listed}?", listed), truth, "concern" if facts.concern else "")


def _aspects(rng: Random, facts: Facts) -> Turn:
    if facts.concern:
        return Turn("concern?", facts.concern, "concern")
    message, aspects = rng.choice((("praised?", facts.praised), ("criticised?", facts.criticised)))
    return Turn(message, ", ".join(aspects) or "nothing")


_FOLLOW_UPS: tuple[Callable[[Random, Facts], Turn], ...] = (
    *(_fact, _fact, _fact, _condition, _condition, _condition),
    *(_label, _aspects),
)


def _worded(rng: Random, pair: wordings.Wordings, brief: str, x: str) -> str:
    """Briefly, or in words that training knows, without the text: it stands above."""
    return brief if rng.random() < 0.6 else rng.choice(pair[0]).format(x=x, text="").strip()
