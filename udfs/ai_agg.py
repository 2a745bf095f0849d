from typing import Any, Literal

from sqlinfer import Parameters, Request, SqlinferError, Steps, detailed, detailed_type, in_parts, whole

AGGREGATE = True


def ai_agg(
    texts: list[str],
    instruction: str,
    overflow: Literal["hierarchical", "error"] = "hierarchical",
    details: bool = False,
) -> Steps[Any]:
    """Answer an instruction about all texts of a group, in parts and then about the answers if they are many.

    overflow: 'error' refuses a group whose texts the model cannot read together. details: as of summarize.
    """
    check(instruction)
    request = Request(
        "\n\n".join(texts),
        instruction=f"{instruction}\nThis is asked about all of the following texts together. "
        "Answer with the answer alone.",
        parameters=Parameters(max_tokens=128),
    )
    again = (
        f"{instruction}\nThis was asked about many texts, in parts. Make one answer of the following answers for the "
        "parts. Answer with the answer alone."
    )
    steps = in_parts(request, again) if overflow == "hierarchical" else whole(request)
    return (yield from detailed(steps) if details else steps)


def check(instruction: str) -> None:
    if not instruction.strip():
        raise SqlinferError("instruction is blank; write what to do, as in ai_agg(text, 'What goes wrong most often?')")


def returns(details: bool = False) -> str:
    return detailed_type() if details else "VARCHAR"
