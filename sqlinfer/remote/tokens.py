"""Tokens of a text before a server counts them: by tiktoken, where that knows the model, else by a stated estimate."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from sqlinfer.types import AnyRequest

BYTES_A_TOKEN = 4
"""Of English text in common tokenizers; other languages have fewer."""
MESSAGE_TOKENS = 8
"""That the chat format adds to a message, about."""


def token_counter(model: str) -> Callable[[str], int]:
    """What counts the tokens of a text for a model of this name.

    >>> token_counter("no such model")("eight bytes")
    3
    """
    return _tiktoken(model) or _estimate


def prompt_text(request: AnyRequest, text: str | None = None) -> str:
    """The message of a request: its instruction, an empty line, its text; text: in place of its own."""
    instruction = getattr(request, "instruction", "")
    text = request.text if text is None else text
    return f"{instruction}\n\n{text}" if instruction else text


def _estimate(text: str) -> int:
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_A_TOKEN)


@lru_cache(maxsize=64)
def _tiktoken(model: str) -> Callable[[str], int] | None:
    try:
        import tiktoken

        encoding = tiktoken.encoding_for_model(model.rpartition("/")[2])
    except Exception:  # noqa: BLE001 - it is not there, does not know the model, or cannot fetch its vocabulary
        return None
    return lambda text: len(encoding.encode(text, disallowed_special=()))
