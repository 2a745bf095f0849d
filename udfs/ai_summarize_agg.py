from typing import Literal

from sqlinfer import Parameters, Request, Steps, in_parts

AGGREGATE = True


def ai_summarize_agg(
    texts: list[str], max_words: int = 50, overflow: Literal["hierarchical", "error"] = "hierarchical"
) -> Steps[str]:
    """Summarize all texts of a group in at most max_words words, in parts and then the summaries if they are many."""
    asked = Request(
        "\n\n".join(texts),
        instruction=f"Summarize the following texts together in at most {max_words} words. "
        "Answer with the summary alone.",
        task="summarize",
        parameters=Parameters(max_tokens=2 * max_words),
    )
    if overflow == "error":
        return (yield asked)
    return (yield from in_parts(asked))
