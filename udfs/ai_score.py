import json

from sqlinfer import Request


def ai_score(text: str, criterion: str) -> Request:
    """Say how well a text fits a criterion, given in words, from 0 to 1."""
    return Request(
        text,
        instruction=f"Is this true of the following text: {criterion}? Answer yes or no.",
        choices=("yes", "no"),
        query=criterion,
    )


def read(answer: str) -> float:
    return float(json.loads(answer)["yes"])
