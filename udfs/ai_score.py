from typing import Literal

from sqlinfer import Choose, SqlinferError, Steps, calibrated


def ai_score(
    text: str, criterion: str, overflow: Literal["truncate", "error"] = "error", calibrate: bool = False
) -> Steps[float]:
    """Say how well a text fits a criterion, given in words, from 0 to 1.

    calibrate: as of ai_classify.
    """
    check(criterion)
    request = Choose(
        text,
        ("yes", "no"),
        instruction=f"Is this true of the following text: {criterion}? Answer yes or no.",
        query=criterion,
        overflow=overflow,
    )
    probabilities = yield from calibrated(request, calibrate)
    return probabilities["yes"]


def check(criterion: str) -> None:
    if not criterion.strip():
        raise SqlinferError("criterion is blank; describe it in words, as in ai_score(text, 'it is urgent')")
