import json
from typing import Literal

from sqlinfer import Request


def ai_predict(model: str, input: str, overflow: Literal["truncate", "error"] = "truncate") -> Request:
    """Predict the label of a text with a classifier, named by its registered name, hub id or folder."""
    return Request(input, task="predict", overflow=overflow)


def read(answer: str) -> str:
    chances = json.loads(answer)
    return str(max(chances, key=chances.get))
