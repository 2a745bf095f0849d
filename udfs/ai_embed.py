from typing import Literal

from sqlinfer import Embed


def ai_embed(text: str, overflow: Literal["truncate", "error"] = "truncate") -> Embed:
    """Embed a text: a vector of numbers, near to those of texts that mean about the same."""
    return Embed(text, overflow)
