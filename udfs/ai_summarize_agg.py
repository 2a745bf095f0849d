from typing import Any, Literal

from sqlinfer import Parameters, Request, Steps, detailed, detailed_type, in_parts, whole

AGGREGATE = True


def ai_summarize_agg(
    texts: list[str],
    max_words: int = 50,
    overflow: Literal["hierarchical", "error"] = "hierarchical",
    details: bool = False,
) -> Steps[Any]:
    """Summarize all texts of a group in at most max_words words, in parts and then the summaries if they are many."""
    asked = Request(
        "\n\n".join(texts),
        instruction=f"Summarize the following texts together in at most {max_words} words. "
        "Answer with the summary alone.",
        task="summarize",
        parameters=Parameters(max_tokens=2 * max_words),
    )
    steps = in_parts(asked) if overflow == "hierarchical" else whole(asked)
    return (yield from detailed(steps) if details else steps)


def returns(details: bool = False) -> str:
    return detailed_type() if details else "VARCHAR"
