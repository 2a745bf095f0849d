from typing import Literal

from sqlinfer import Parameters, Request


def reply(text: str, tone: Literal["friendly", "brief", "formal"] = "friendly") -> Request:
    """Write an answer to a customer's message."""
    return Request(
        text,
        instruction=f"Answer this customer in a {tone} tone, in at most three sentences.",
        parameters=Parameters(max_tokens=120),
    )
