from typing import Literal

from sqlinfer import Embed


def ai_embed(text: str, overflow: Literal["truncate", "error"] = "truncate") -> Embed:
    """Embed a text: a vector of numbers, close to the vectors of texts with a similar meaning."""
    return Embed(text, overflow)
