import json
from typing import Literal

from sqlinfer import Request

ALIASES = ("ai_analyze_sentiment",)
LABELS = ("positive", "negative", "neutral", "mixed")


def ai_sentiment(text: str, overflow: Literal["truncate", "error"] = "error") -> Request:
    """Say whether a text is positive, negative, neutral or mixed."""
    return Request(
        text,
        instruction=f"Classify the sentiment of the following text as one of these labels: {', '.join(LABELS)}. "
        "Answer with the label alone.",
        overflow=overflow,
        choices=LABELS,
    )


def read(answer: str) -> str:
    chances = json.loads(answer)
    return max(chances, key=chances.__getitem__)
