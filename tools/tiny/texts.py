"""Writes reviews and tickets from facts, so that what is asked about a text has a known answer.

Seeded: the same generator state writes the same text. Knows no model and no prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from tools.tiny import words

SENTIMENTS = ("positive", "negative", "neutral", "mixed")
MAX_SENTENCES = 12


@dataclass(frozen=True, slots=True)
class Facts:
    """What a text says.

    kind, brand: of the product. aspects: (name, whether praised) in the order of their mention. concern: why a
    ticket was written, None for a review. mood: of the author, None if the text does not tell. price, city, order,
    date: as the text writes them, None if it does not.
    """

    kind: str
    brand: str
    aspects: tuple[tuple[str, bool], ...]
    concern: str | None
    mood: str | None
    price: str | None
    city: str | None
    order: str | None
    date: str | None

    @property
    def product(self) -> str:
        return f"{self.brand} {self.kind}"

    @property
    def sentiment(self) -> str:
        """Of a review: what its aspects amount to."""
        praises = {praised for _, praised in self.aspects}
        return {(): "neutral", (True,): "positive", (False,): "negative"}.get(tuple(praises), "mixed")

    @property
    def praised(self) -> list[str]:
        return [name for name, praised in self.aspects if praised]

    @property
    def criticised(self) -> list[str]:
        return [name for name, praised in self.aspects if not praised]

    @property
    def summary(self) -> str:
        """The one sentence that says product, sentiment and aspects, or product, reason and mood."""
        if self.concern:
            mood = f"; the customer is {self.mood}" if self.mood else ""
            return f"A {self.concern} ticket about the {self.product}{mood}."
        aspects = [f"{_listed(self.praised)} praised"] if self.praised else []
        aspects += [f"{_listed(self.criticised)} criticised"] if self.criticised else []
        return f"A {self.sentiment} review of the {self.product}" + (f": {', '.join(aspects)}." if aspects else ".")


@dataclass(frozen=True, slots=True)
class Text:
    """A review or a ticket, and what it says.

    ends: of each fact that a sentence of its own tells (an aspect by its name, or concern, mood, city): where in body
    that sentence's last character stands.
    """

    body: str
    facts: Facts
    ends: Mapping[str, int]


def write_review(rng: Random, held_out: bool = False) -> Text:
    """A review of 1 to 12 sentences. held_out: whether its brand is one that training never shows."""
    kind = rng.choice(list(words.KINDS))
    sentiment = rng.choice(SENTIMENTS)
    polarities = {
        "positive": [True] * rng.randint(1, 4),
        "negative": [False] * rng.randint(1, 4),
        "mixed": [True, False, *(rng.random() < 0.5 for _ in range(rng.randint(0, 2)))],
        "neutral": [],
    }[sentiment]
    rng.shuffle(polarities)
    names = rng.sample((*words.KINDS[kind], *words.PURCHASE), len(polarities))
    moods = words.MOODS_OF[sentiment]
    facts = Facts(
        kind=kind,
        brand=words.write_brand(rng, held_out),
        aspects=tuple(zip(names, polarities, strict=True)),
        concern=None,
        mood=rng.choice(moods) if moods and rng.random() < 0.5 else None,
        **_circumstances(rng, 0.35),
    )
    return _write(rng, facts, words.OPENINGS)


def write_ticket(rng: Random, held_out: bool = False) -> Text:
    """A ticket of 1 to 12 sentences: a customer writes to the shop. held_out: as for a review."""
    concern = rng.choice(list(words.CONCERNS))
    facts = Facts(
        kind=rng.choice(list(words.KINDS)),
        brand=words.write_brand(rng, held_out),
        aspects=(),
        concern=concern,
        mood=rng.choice(words.MOODS_OF_CONCERN[concern]) if rng.random() < 0.6 else None,
        **_circumstances(rng, 0.5),
    )
    return _write(rng, facts, words.REFERRALS)


def write_text(rng: Random, held_out: bool = False) -> Text:
    """A review or, less often, a ticket."""
    return write_review(rng, held_out) if rng.random() < 0.6 else write_ticket(rng, held_out)


def _circumstances(rng: Random, chance: float) -> dict[str, str | None]:
    amount = f"{rng.randint(5, 899)}.{rng.choice(('99', '50', '00', '95', f'{rng.randint(0, 99):02}'))}"
    number = rng.choice((f"{rng.randint(10000, 999999)}", f"{rng.choice('ABCDEFGHKLM')}-{rng.randint(1000, 99999)}"))
    day = f"20{rng.randint(19, 26)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    values = {"price": amount, "city": rng.choice(words.CITIES), "order": number, "date": day}
    return {name: value if rng.random() < chance else None for name, value in values.items()}


def _write(rng: Random, facts: Facts, openings: tuple[str, ...]) -> Text:
    """Sentences for all facts, in an order of their own, and some that say nothing."""
    untold = {"city": facts.city, "date": facts.date}
    opening = rng.choice(openings)
    where = f" in {untold.pop('city')}" if "{where}" in opening and facts.city and rng.random() < 0.7 else ""
    when = f" on {untold.pop('date')}" if "{when}" in opening and facts.date and rng.random() < 0.7 else ""
    first = opening.format(product=facts.product, kind=facts.kind, brand=facts.brand, where=where, when=when)
    rest = [(name, _about(rng, name, praised, facts.kind)) for name, praised in facts.aspects]
    if facts.concern:
        rest.append(("concern", rng.choice(words.CONCERNS[facts.concern]).format(kind=facts.kind)))
    others = []
    if facts.price:
        others.append(("", rng.choice(words.PRICES).format(price=_priced(rng, facts.price))))
    if untold.get("city"):
        others.append(("city", rng.choice(words.PLACES).format(city=facts.city)))
    if facts.order:
        wording = rng.choice(words.ORDERS)
        others.append(("", wording.format(order=rng.choice(("", "#", "no. ")) + facts.order)))
    if untold.get("date"):
        others.append(("", rng.choice(words.DATES).format(date=facts.date)))
    if facts.mood:
        others.append(("mood", rng.choice(words.MOODS[facts.mood])))
    room = MAX_SENTENCES - 1 - len(rest) - len(others)
    fillers = rng.sample(words.FILLERS, min(room, rng.choice((0, 0, 0, 1, 1, 2, 3, 5))))
    for pair in [*others, *(("", filler) for filler in fillers)]:
        rest.insert(rng.randint(0, len(rest)), pair)  # the aspects keep their order, the rest falls between them
    rest.insert(0 if rng.random() < 0.8 else rng.randint(0, len(rest)), ("", first))
    body, ends = "", {}
    for fact, sentence in rest:
        body += f" {sentence}" if body else sentence
        ends[fact] = len(body) - 1
    ends.pop("", None)
    return Text(_typed(rng, body), facts, ends)


def _about(rng: Random, aspect: str, praised: bool, kind: str) -> str:
    sentences = words.ASPECTS[aspect][0 if praised else 1]
    if rng.random() < 0.6:
        return rng.choice(sentences)
    adjective = rng.choice(words.GOOD if praised else words.BAD)
    form = rng.choice(("The {a} is {b}.", "{A} of the {k}: {b}.", "I find the {a} {b}.", "As for the {a}, it is {b}."))
    return form.format(a=aspect, A=aspect.capitalize(), k=kind, b=adjective)


def _priced(rng: Random, amount: str) -> str:
    return rng.choice((f"${amount}", f"{amount} euros", f"{amount} dollars", f"{amount} EUR"))


def _typed(rng: Random, text: str) -> str:
    """As people type: now and then without capitals at the start or with another end."""
    chance = rng.random()
    if chance < 0.05:
        return text[0].lower() + text[1:]
    return text[:-1] + "!" if chance < 0.15 and text.endswith(".") else text


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
