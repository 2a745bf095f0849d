from typing import Any, Literal

from sqlinfer import Parameters, Request, SqlinferError, Steps, detailed, detailed_type, in_parts, whole

AGGREGATE = True


def ai_summarize_agg(
    texts: list[str],
    max_words: int = 50,
    overflow: Literal["hierarchical", "error"] = "hierarchical",
    details: bool = False,
) -> Steps[Any]:
    """Summarize all texts of a group in at most max_words words, in parts and then the summaries if they are many.

    overflow: 'error' refuses a group whose texts the model cannot read together. details: as of summarize.
    """
    check(max_words)
    request = Request(
        "\n\n".join(texts),
        instruction=f"Summarize the following texts together in at most {max_words} words. "
        "Answer with the summary alone.",
        task="summarize",
        parameters=Parameters(max_tokens=2 * max_words),
    )
    steps = in_parts(request) if overflow == "hierarchical" else whole(request)
    return (yield from detailed(steps) if details else steps)


def check(max_words: int = 50) -> None:
    if max_words < 1:
        raise SqlinferError(f"max_words must be a whole number of at least 1, not {max_words}")


def returns(details: bool = False) -> str:
    return detailed_type() if details else "VARCHAR"
