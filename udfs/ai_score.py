import json
from typing import Literal

from sqlinfer import Request, SqlinferError


def ai_score(text: str, criterion: str, overflow: Literal["truncate", "error"] = "error") -> Request:
    """Say how well a text fits a criterion, given in words, from 0 to 1."""
    check(criterion)
    return Request(
        text,
        instruction=f"Is this true of the following text: {criterion}? Answer yes or no.",
        overflow=overflow,
        choices=("yes", "no"),
        query=criterion,
    )


def check(criterion: str) -> None:
    if not criterion.strip():
        raise SqlinferError("criterion is blank; say it in words, as in ai_score(text, 'it is urgent')")


def read(answer: str) -> float:
    return float(json.loads(answer)["yes"])
