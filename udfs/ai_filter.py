import json
from typing import Literal

from sqlinfer import Request, SqlinferError

ALIASES = ("ai_if",)


def ai_filter(text: str, condition: str, overflow: Literal["truncate", "error"] = "error") -> Request:
    """Say whether a condition, given in words, holds for a text."""
    check(condition)
    return Request(
        text,
        instruction=f"Is this true of the following text: {condition}? Answer yes or no.",
        overflow=overflow,
        choices=("yes", "no"),
        query=condition,
    )


def check(condition: str) -> None:
    if not condition.strip():
        raise SqlinferError("condition is blank; say it in words, as in ai_filter(text, 'it is about a refund')")


def read(answer: str) -> bool:
    chances = json.loads(answer)
    return bool(chances["yes"] >= chances["no"])
