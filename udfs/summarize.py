from sqlinfer import Parameters, Request
from sqlinfer.types import Overflow

ALIASES = ("ai_summarize",)


def summarize(text: str, max_words: int = 50, overflow: Overflow = "truncate") -> Request:
    """Summarize a text in at most max_words words."""
    return Request(
        text,
        instruction=f"Summarize the following text in at most {max_words} words. Answer with the summary alone.",
        task="summarize",
        parameters=Parameters(max_tokens=2 * max_words),
        overflow=overflow,
    )
