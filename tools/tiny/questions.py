"""Questions about a text and their right answers, as the SQL functions ask them and as people word them.

Knows no model: a question is a request, and how it becomes a prompt is the engine's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from sqlinfer.functions import Functions, load_functions
from sqlinfer.types import AnyRequest, Choose, Generate
from tools.tiny import wordings, words
from tools.tiny.conditions import CONDITIONS
from tools.tiny.texts import SENTIMENTS, Facts, Text, write_review, write_text, write_ticket

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "positive": ("positive", "good", "satisfied"),
    "negative": ("negative", "bad", "dissatisfied"),
    "neutral": ("neutral", "indifferent", "no opinion"),
    "mixed": ("mixed", "both", "divided"),
    "bug": ("bug", "defect", "malfunction"),
    "billing": ("billing", "invoice", "payment"),
    "delivery": ("delivery", "shipping", "parcel"),
    "refund": ("refund", "money back", "reimbursement"),
    "question": ("question", "inquiry", "request"),
    "cancellation": ("cancellation", "cancel", "withdrawal"),
    "praise": ("praise", "thanks", "compliment"),
}
"""Other names that people give to labels."""

FIELDS: Mapping[str, tuple[str, ...]] = {
    "product": ("product", "product name", "item"),
    "price": ("price", "amount", "price (number)"),
    "city": ("city", "place"),
    "order": ("order number", "order_number", "order", "order_id"),
    "date": ("date",),
    "brand": ("brand", "maker"),
    "kind": ("kind", "product type"),
}
"""Of each fact: the names that people give to its field; "(number)" is how a typed field is shown."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request, the right answer, the text that it is about and the name of the task.

    fact: which one the answer rests on, if it is one (a name as in Text.ends), else "".
    """

    request: Generate | Choose
    answer: str
    text: Text
    task: str
    fact: str = ""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a question may show that training never does, and then always shows."""

    brands: bool = False
    wordings: bool = False
    label_sets: bool = False


TRAINING = HeldOut()

_WORDED = 0.3
"""The share of questions in people's words instead of a SQL function's prompt."""


@cache
def functions() -> Functions:
    """The built-in SQL functions."""
    return load_functions()


def ask(name: str, /, **arguments: object) -> Any:
    """What a SQL function asks first."""
    outcome = functions()[name].ask(**arguments)
    first = outcome if isinstance(outcome, AnyRequest) else next(outcome)
    return first if isinstance(first, AnyRequest) else first[0]


def write_question(rng: Random, held_out: HeldOut = TRAINING) -> Question:
    """A question of any task about a text of its own."""
    (task,) = rng.choices(list(TASKS), [weight for _, weight in TASKS.values()])
    return TASKS[task][0](rng, held_out)


def sentiment(rng: Random, held_out: HeldOut = TRAINING) -> Question:
    """Positive, negative, neutral or mixed? Now and then of a summary, as a nested call asks it."""
    text = write_review(rng, held_out.brands)
    body = text.facts.summary if rng.random() < 0.15 else text.body
    return Question(ask("ai_sentiment", text=body), text.facts.sentiment, text, "sentiment")


def classify(rng: Random, held_out: HeldOut = TRAINING) -> Question:
    """Which of these labels?"""
    while True:
        text, fact, truth, others = rng.choice(_LABELLINGS)(rng, held_out)
        labels = [truth, *rng.sample(others, rng.randint(1, min(len(others), 7)))]
        rng.shuffle(labels)
        if words.is_held_out(",".join(sorted(label.lower() for label in labels))) == held_out.label_sets:
            break
    style = rng.choices((str, str.capitalize, str.upper), (8, 2, 1))[0]
    styled = [style(label) for label in labels]
    short = rng.random() < 0.1 and truth not in words.MOODS
    body = text.facts.summary if short else text.body
    if held_out.wordings or rng.random() < _WORDED:
        request = _worded(rng, wordings.CLASSIFIERS, held_out, x=", ".join(styled), text=body)
    elif rng.random() < 0.15:
        request = ask("ai_classify", text=body, labels=styled, instructions=rng.choice(wordings.PREAMBLES))
    else:
        request = ask("ai_classify", text=body, labels=styled)
    return Question(request, style(truth), text, "classify", fact)


def condition(rng: Random, held_out: HeldOut = TRAINING) -> Question:
    """Does a condition on an aspect, a mood or another fact hold? Half of them do."""
    text = write_text(rng, held_out.brands)
    holds = rng.random() < 0.5
    while (drawn := rng.choice(CONDITIONS)(rng, text.facts, holds, held_out.wordings)) is None:
        text = write_text(rng, held_out.brands)
    fact, worded = drawn
    if held_out.wordings or rng.random() < _WORDED:
        request = _worded(rng, wordings.FILTERS, held_out, x=worded, text=text.body)
    else:
        request = ask("ai_filter", text=text.body, condition=worded)
    return Question(request, "yes" if holds else "no", text, "filter", fact)


def extract(rng: Random, held_out: HeldOut = TRAINING) -> Question:
    """Some facts as JSON; what the text does not tell is null."""
    text = write_text(rng, held_out.brands)
    facts = rng.sample(list(FIELDS), rng.choice((1, 2, 3, 3, 4, 4, 5)))
    names = [FIELDS[fact][0] if rng.random() < 0.5 else rng.choice(FIELDS[fact]) for fact in facts]
    values = {}
    for fact, name in zip(facts, names, strict=True):
        value = getattr(text.facts, fact)
        values[name.removesuffix(" (number)")] = float(value) if value and name.endswith("(number)") else value
    if held_out.wordings or rng.random() < _WORDED:
        request = _worded(rng, wordings.EXTRACTS, held_out, x=", ".join(names), text=text.body)
    else:
        request = ask("ai_extract", text=text.body, fields=names)
    return Question(request, json.dumps(values, ensure_ascii=False), text, "extract")


def summary(rng: Random, held_out: HeldOut = TRAINING) -> Question:
    """One sentence; a few words when only a few are allowed."""
    text = write_text(rng, held_out.brands)
    if held_out.wordings or rng.random() < _WORDED:
        request = _worded(rng, wordings.SUMMARIES, held_out, text=text.body)
        return Question(request, text.facts.summary, text, "summarize")
    max_words = rng.choice((50, 50, 50, 50, 10, 15, 20, 25, 30, 40, 60, 100, 5, 6, 8))
    answer = text.facts.summary if max_words >= 10 else _brief(text.facts)
    return Question(ask("summarize", text=text.body, max_words=max_words), answer, text, "summarize")


def fact(rng: Random, held_out: HeldOut = TRAINING) -> Question:
    """One fact, asked for in plain words."""
    while True:
        text = write_text(rng, held_out.brands)
        name = rng.choice(list(wordings.QUESTIONS))
        value = getattr(text.facts, name)
        if value is not None:
            break
    question = wordings.choose(rng, wordings.QUESTIONS[name], held_out.wordings)
    prompt = f"{question}\n\n{text.body}" if rng.random() < 0.6 else f"{text.body}\n\n{question}"
    return Question(Generate(prompt), value, text, "question")


TASKS: Mapping[str, tuple[Callable[[Random, HeldOut], Question], float]] = {
    "sentiment": (sentiment, 0.08),
    "classify": (classify, 0.22),
    "filter": (condition, 0.30),
    "extract": (extract, 0.20),
    "summarize": (summary, 0.13),
    "question": (fact, 0.07),
}
"""Each task and its share of the training questions."""


def _brief(facts: Facts) -> str:
    subject = f"{facts.concern} ticket about" if facts.concern else f"{facts.sentiment} review of"
    return f"{subject.capitalize()} the {facts.product}."


def _worded(rng: Random, pair: wordings.Wordings, held_out: HeldOut, **parts: str) -> Generate:
    return Generate(wordings.choose(rng, pair, held_out.wordings).format(**parts))


Labelled = tuple[Text, str, str, list[str]]
"""A text, the fact that its label rests on (or ""), the right label and wrong ones."""


def _by_sentiment(rng: Random, held_out: HeldOut) -> Labelled:
    text = write_review(rng, held_out.brands)
    return text, "", *_named(rng, text.facts.sentiment, list(SENTIMENTS))


def _by_kind(rng: Random, held_out: HeldOut) -> Labelled:
    text = write_text(rng, held_out.brands)
    return text, "", text.facts.kind, [kind for kind in words.KINDS if kind != text.facts.kind]


def _by_mood(rng: Random, held_out: HeldOut) -> Labelled:
    while (text := write_text(rng, held_out.brands)).facts.mood is None:
        pass
    assert text.facts.mood is not None
    return text, "mood", text.facts.mood, [mood for mood in words.MOODS if mood != text.facts.mood]


def _by_concern(rng: Random, held_out: HeldOut) -> Labelled:
    text = write_ticket(rng, held_out.brands)
    assert text.facts.concern is not None
    return text, "concern", *_named(rng, text.facts.concern, list(words.CONCERNS))


def _by_aspect(rng: Random, held_out: HeldOut) -> Labelled:
    while len((text := write_review(rng, held_out.brands)).facts.aspects) != 1:
        pass
    truth = text.facts.aspects[0][0]
    return text, truth, truth, [aspect for aspect in words.ASPECTS if aspect != truth]


_LABELLINGS = (_by_sentiment, _by_kind, _by_mood, _by_concern, _by_concern, _by_aspect)


def _named(rng: Random, truth: str, family: list[str]) -> tuple[str, list[str]]:
    """The right label and the wrong ones, a third of them under other names."""
    names = {label: rng.choice(SYNONYMS[label]) if rng.random() < 0.33 else label for label in family}
    return names.pop(truth), list(names.values())
