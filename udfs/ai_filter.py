from typing import Literal

from sqlinfer import Choose, Probabilities, SqlinferError

ALIASES = ("ai_if",)


def ai_filter(text: str, condition: str, overflow: Literal["truncate", "error"] = "error") -> Choose:
    """Say whether a condition, given in words, holds for a text."""
    check(condition)
    return Choose(
        text,
        ("yes", "no"),
        instruction=f"Is this true of the following text: {condition}? Answer yes or no.",
        query=condition,
        overflow=overflow,
    )


def check(condition: str) -> None:
    if not condition.strip():
        raise SqlinferError("condition is blank; describe it in words, as in ai_filter(text, 'it is about a refund')")


def read(probabilities: Probabilities) -> bool:
    return probabilities.best == "yes"
