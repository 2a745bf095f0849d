from typing import Literal

from sqlinfer import Request, Steps
from sqlinfer.functions.vectors import cosine, from_text


def ai_similarity(a: str, b: str, overflow: Literal["truncate", "error"] = "truncate") -> Steps[float]:
    """Say how near the meanings of two texts are: the cosine of their embeddings, -1 to 1."""
    answers = yield [Request(text, task="embed", overflow=overflow) for text in (a, b)]
    return cosine(*map(from_text, answers))
