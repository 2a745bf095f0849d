from typing import Literal

from sqlinfer import Request
from sqlinfer.functions.vectors import from_text
from sqlinfer.types import Vector


def ai_embed(text: str, overflow: Literal["truncate", "error"] = "truncate") -> Request:
    """Embed a text: a vector of numbers, near to those of texts that mean about the same."""
    return Request(text, task="embed", overflow=overflow)


def read(answer: str) -> Vector:
    return Vector(from_text(answer))
