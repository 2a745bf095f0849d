from typing import Literal

from sqlinfer import Embed, Steps
from sqlinfer.functions.vectors import cosine


def ai_similarity(a: str, b: str, overflow: Literal["truncate", "error"] = "truncate") -> Steps[float]:
    """Say how near the meanings of two texts are: the cosine of their embeddings, -1 to 1."""
    first, second = yield [Embed(text, overflow) for text in (a, b)]
    return cosine(first, second)
