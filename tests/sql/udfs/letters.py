from typing import TypedDict


class Letters(TypedDict):
    first: str
    count: int


def letters(text: str, most: int = 9) -> Letters:
    """Look at a text without a model."""
    return {"first": text[:1], "count": min(len(text), most)}
