"""Conditions on a text that hold or do not; knows no model and no prompt.

Each function takes the facts, whether the condition is to hold, and whether its wording is one that training never
shows; it returns None if the facts allow no such condition.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tools.tiny import wordings, words
from tools.tiny.texts import SENTIMENTS, Facts
from tools.tiny.wordings import choose

Condition = tuple[str, str]
"""The fact that decides it (a name as in Text.ends, or ""), and the condition in words."""


def _on_mention(rng: Random, facts: Facts, holds: bool, held_out: bool) -> Condition | None:
    mentioned = [name for name, _ in facts.aspects]
    aspects = mentioned if holds else [name for name in words.ASPECTS if name not in mentioned]
    if not aspects or facts.concern:
        return None
    aspect = rng.choice(aspects)
    return aspect, choose(rng, wordings.CONDITIONS["mentioned"], held_out).format(x=aspect)


def _on_aspect(rng: Random, facts: Facts, holds: bool, held_out: bool) -> Condition | None:
    """A false one names an aspect of the other polarity, or one that is not there."""
    praise = rng.random() < 0.5
    right, wrong = (facts.praised, facts.criticised) if praise else (facts.criticised, facts.praised)
    aspects = right if holds else wrong
    if not aspects and not holds and facts.concern is None and rng.random() < 0.3:
        aspects = [name for name in words.ASPECTS if name not in right]
    if not aspects:
        return None
    aspect = rng.choice(aspects)
    return aspect, choose(rng, wordings.CONDITIONS["praised" if praise else "criticised"], held_out).format(x=aspect)


def _on_mood(rng: Random, facts: Facts, holds: bool, held_out: bool) -> Condition | None:
    if holds and facts.mood is None:
        return None
    mood = facts.mood if holds else rng.choice([mood for mood in words.MOODS if mood != facts.mood])
    return "mood", choose(rng, wordings.CONDITIONS["mood"], held_out).format(x=mood)


def _on_sentiment(rng: Random, facts: Facts, holds: bool, held_out: bool) -> Condition | None:
    if facts.concern:
        return None
    sentiment = facts.sentiment if holds else rng.choice([name for name in SENTIMENTS if name != facts.sentiment])
    return "", choose(rng, wordings.CONDITIONS["sentiment"], held_out).format(x=sentiment)


def _on_kind(rng: Random, facts: Facts, holds: bool, held_out: bool) -> Condition | None:
    kind = facts.kind if holds else rng.choice([kind for kind in words.KINDS if kind != facts.kind])
    return "", choose(rng, wordings.CONDITIONS["kind"], held_out).format(x=kind)


def _on_concern(rng: Random, facts: Facts, holds: bool, held_out: bool) -> Condition | None:
    if facts.concern is None:
        return None
    concern = facts.concern if holds else rng.choice([name for name in words.CONCERNS if name != facts.concern])
    if rng.random() < 0.6:
        return "concern", choose(rng, wordings.CONCERNS[concern], held_out)
    return "concern", choose(rng, wordings.CONDITIONS["concern"], held_out).format(x=concern)


def _on_city(rng: Random, facts: Facts, holds: bool, held_out: bool) -> Condition | None:
    if facts.city is None:
        return None
    city = facts.city if holds else rng.choice([city for city in words.CITIES if city != facts.city])
    return "city", choose(rng, wordings.CONDITIONS["city"], held_out).format(x=city)


CONDITIONS: tuple[Callable[[Random, Facts, bool, bool], Condition | None], ...] = (
    *(_on_mention, _on_mention, _on_aspect, _on_aspect, _on_aspect, _on_mood, _on_mood),
    *(_on_sentiment, _on_kind, _on_concern, _on_concern, _on_city),
)
