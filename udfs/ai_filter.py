from typing import Literal

from sqlinfer import Choose, SqlinferError, Steps, calibrated

ALIASES = ("ai_if",)


def ai_filter(
    text: str, condition: str, overflow: Literal["truncate", "error"] = "error", calibrate: bool = False
) -> Steps[bool]:
    """Say whether a condition, given in words, holds for a text.

    calibrate: as of ai_classify.
    """
    check(condition)
    request = Choose(
        text,
        ("yes", "no"),
        instruction=f"Is this true of the following text: {condition}? Answer yes or no.",
        query=condition,
        overflow=overflow,
    )
    probabilities = yield from calibrated(request, calibrate)
    return probabilities.best == "yes"


def check(condition: str) -> None:
    if not condition.strip():
        raise SqlinferError("condition is blank; describe it in words, as in ai_filter(text, 'it is about a refund')")
