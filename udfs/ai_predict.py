from typing import Literal

from sqlinfer import Classify, Probabilities


def ai_predict(model: str, input: str, overflow: Literal["truncate", "error"] = "truncate") -> Classify:
    """Predict the label of a text with a classifier, named by its registered name, hub id or folder."""
    return Classify(input, overflow)


def read(probabilities: Probabilities) -> str:
    return probabilities.best
