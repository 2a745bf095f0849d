import json

from sqlinfer import Request

ALIASES = ("ai_if",)


def ai_filter(text: str, condition: str) -> Request:
    """Say whether a condition, given in words, holds for a text."""
    return Request(
        text,
        instruction=f"Is this true of the following text: {condition}? Answer yes or no.",
        choices=("yes", "no"),
        query=condition,
    )


def read(answer: str) -> bool:
    chances = json.loads(answer)
    return bool(chances["yes"] >= chances["no"])
