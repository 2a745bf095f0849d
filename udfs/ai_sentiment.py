from typing import Literal

from sqlinfer import Choose, Probabilities

ALIASES = ("ai_analyze_sentiment",)
LABELS = ("positive", "negative", "neutral", "mixed")


def ai_sentiment(text: str, overflow: Literal["truncate", "error"] = "error") -> Choose:
    """Say whether a text is positive, negative, neutral or mixed."""
    return Choose(
        text,
        LABELS,
        instruction=f"Classify the sentiment of the following text as one of these labels: {', '.join(LABELS)}. "
        "Answer with the label alone.",
        overflow=overflow,
    )


def read(probabilities: Probabilities) -> str:
    return probabilities.best
