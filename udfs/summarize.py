from dataclasses import replace
from typing import Any, Literal

from sqlinfer import Parameters, Request, SqlinferError, Steps, detailed, detailed_type, in_parts, whole

ALIASES = ("ai_summarize",)


def summarize(
    text: str,
    max_words: int = 50,
    overflow: Literal["truncate", "hierarchical", "error"] = "truncate",
    details: bool = False,
) -> Steps[Any]:
    """Summarize a text in at most max_words words.

    overflow: of a text that the model cannot read whole; 'hierarchical' summarizes its parts, and then the summaries.
    details: the value is STRUCT(value, prompt_tokens, completion_tokens, finish_reason, truncated).
    """
    check(max_words)
    request = Request(
        text,
        instruction=f"Summarize the following text in at most {max_words} words. Answer with the summary alone.",
        task="summarize",
        parameters=Parameters(max_tokens=2 * max_words),
    )
    steps = in_parts(request) if overflow == "hierarchical" else whole(replace(request, overflow=overflow))
    return (yield from detailed(steps) if details else steps)


def check(max_words: int = 50) -> None:
    if max_words < 1:
        raise SqlinferError(f"max_words must be a whole number of at least 1, not {max_words}")


def returns(details: bool = False) -> str:
    return detailed_type() if details else "VARCHAR"
