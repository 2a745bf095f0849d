from typing import Literal

from sqlinfer import Choose, Steps, calibrated

ALIASES = ("ai_analyze_sentiment",)
LABELS = ("positive", "negative", "neutral", "mixed")


def ai_sentiment(text: str, overflow: Literal["truncate", "error"] = "error", calibrate: bool = False) -> Steps[str]:
    """Say whether a text is positive, negative, neutral or mixed.

    calibrate: as of ai_classify.
    """
    request = Choose(
        text,
        LABELS,
        instruction=f"Classify the sentiment of the following text as one of these labels: {', '.join(LABELS)}. "
        "Answer with the label alone.",
        overflow=overflow,
    )
    probabilities = yield from calibrated(request, calibrate)
    return probabilities.best
