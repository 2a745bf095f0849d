from dataclasses import replace
from typing import Literal

from sqlinfer import Parameters, Request, Steps, in_parts

ALIASES = ("ai_summarize",)


def summarize(
    text: str, max_words: int = 50, overflow: Literal["truncate", "hierarchical", "error"] = "truncate"
) -> Steps[str]:
    """Summarize a text in at most max_words words."""
    asked = Request(
        text,
        instruction=f"Summarize the following text in at most {max_words} words. Answer with the summary alone.",
        task="summarize",
        parameters=Parameters(max_tokens=2 * max_words),
    )
    if overflow == "hierarchical":
        return (yield from in_parts(asked))
    return (yield replace(asked, overflow=overflow))
