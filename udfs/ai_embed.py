import base64
from typing import Literal

from sqlinfer import Request
from sqlinfer.types import Float


def ai_embed(text: str, overflow: Literal["truncate", "error"] = "truncate") -> Request:
    """Embed a text: a vector of numbers, near to those of texts that mean about the same."""
    return Request(text, task="embed", overflow=overflow)


def read(answer: str) -> list[Float]:
    import numpy as np

    vector: list[Float] = np.frombuffer(base64.b64decode(answer), dtype="<f4")
    return vector
