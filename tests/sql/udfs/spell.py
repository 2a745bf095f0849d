from typing import Any

from sqlinfer import Request, SqlinferError, Steps


def spell(text: str, shape: str = "VARCHAR", many: bool = False) -> Steps[Any]:
    """Give a text back in a shape that the call says."""
    answer = yield Request(text)
    word = answer.strip("<>")
    return [word, answer] if many else {"text": word} if shape.startswith("STRUCT") else word


def returns(shape: str = "VARCHAR", many: bool = False) -> str:
    if shape == "NONE":
        raise SqlinferError("shape NONE is no type")
    return f"{shape}[]" if many else shape
