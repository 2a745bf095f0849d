"""PackedTexts, requests and answers that the engine's tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.types import AnyRequest, Choose, Completion, Parameters, Request

EngineOf = Callable[[str], TransformersEngine]

TEXTS = (
    "The order arrived two days late.",
    "a",
    "Rows and columns, tables and queries, joins and counts.",
    "Please buy the lamp near the window again, and the chair, and the small table; then come back at seven.",
    "Grüße aus München, 東京 и Москва \N{GRINNING FACE}\N{FAMILY}",
    "one hundred degrees",
    "The box was open. " * 6,
    "zzz",
)


def requests(
    texts: tuple[str, ...] | list[str] = TEXTS, *, task: str = "generate", **parameters: object
) -> list[Request]:
    """One request a text, named by its place."""
    return [
        Request(text, task=task, parameters=Parameters(**parameters), key=str(i).encode())
        for i, text in enumerate(texts)
    ]


def choosing(batch: list[Request], choices: tuple[str, ...]) -> list[Choose]:
    """The same requests, for the probabilities of choices."""
    return [Choose(r.text, choices, r.instruction, parameters=r.parameters, key=r.key) for r in batch]


def answer(engine: TransformersEngine, batch: Sequence[AnyRequest]) -> list[Completion]:
    """Completions in the order of the requests."""
    completions = list(engine.generate(batch))
    assert len(completions) == len(batch)
    return sorted(completions, key=lambda c: int(c.request.key))


def texts(completions: list[Completion]) -> list[str]:
    """The answers, none of which may be an error."""
    assert [c.error for c in completions] == [None] * len(completions)
    return [str(c.output) for c in completions]
