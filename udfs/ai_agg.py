from typing import Literal

from sqlinfer import Parameters, Request, Steps, in_parts

AGGREGATE = True


def ai_agg(
    texts: list[str], instruction: str, overflow: Literal["hierarchical", "error"] = "hierarchical"
) -> Steps[str]:
    """Answer an instruction about all texts of a group, in parts and then about the answers if they are many."""
    asked = Request(
        "\n\n".join(texts),
        instruction=f"{instruction}\nThis is asked about all of the following texts together. "
        "Answer with the answer alone.",
        parameters=Parameters(max_tokens=128),
    )
    if overflow == "error":
        return (yield asked)
    again = (
        f"{instruction}\nThis was asked about many texts, in parts. Make one answer of the following answers for the "
        "parts. Answer with the answer alone."
    )
    return (yield from in_parts(asked, again))
