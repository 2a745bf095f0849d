from typing import Literal

from sqlinfer import Choose, Probabilities, SqlinferError


def ai_score(text: str, criterion: str, overflow: Literal["truncate", "error"] = "error") -> Choose:
    """Say how well a text fits a criterion, given in words, from 0 to 1."""
    check(criterion)
    return Choose(
        text,
        ("yes", "no"),
        instruction=f"Is this true of the following text: {criterion}? Answer yes or no.",
        query=criterion,
        overflow=overflow,
    )


def check(criterion: str) -> None:
    if not criterion.strip():
        raise SqlinferError("criterion is blank; describe it in words, as in ai_score(text, 'it is urgent')")


def read(probabilities: Probabilities) -> float:
    return probabilities["yes"]
