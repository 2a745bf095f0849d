from dataclasses import replace
from typing import Any, Literal

from sqlinfer import Parameters, Request, Steps, detailed, detailed_type, in_parts, whole

ALIASES = ("ai_summarize",)


def summarize(
    text: str,
    max_words: int = 50,
    overflow: Literal["truncate", "hierarchical", "error"] = "truncate",
    details: bool = False,
) -> Steps[Any]:
    """Summarize a text in at most max_words words."""
    asked = Request(
        text,
        instruction=f"Summarize the following text in at most {max_words} words. Answer with the summary alone.",
        task="summarize",
        parameters=Parameters(max_tokens=2 * max_words),
    )
    steps = in_parts(asked) if overflow == "hierarchical" else whole(replace(asked, overflow=overflow))
    return (yield from detailed(steps) if details else steps)


def returns(details: bool = False) -> str:
    return detailed_type() if details else "VARCHAR"
