"""Where to cut a text that is too long for a model behind an address, by an estimate of its tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlinfer.remote.tokens import MESSAGE_TOKENS, prompt_text
from sqlinfer.text_splitter import split_points
from sqlinfer.types import SplitText

CONTEXT_TOKENS = 128_000
"""Of a model whose server does not say."""
_NAMES = ("max_model_len", "context_length", "context_window", "n_ctx")
_ANSWER_TOKENS = 4096
_SAFETY = 0.9
"""Of the context that is used: the tokens are estimated."""
_WORDS = re.compile(r"\s*\S{1,16}")


def cut_points(request: SplitText, facts: Mapping[str, Any], count: Callable[[str], int]) -> list[int]:
    """Character offsets at which to cut a text; empty if it fits. facts: what the server says of the model."""
    context = context_tokens(facts)
    answer = request.parameters.max_tokens or min(_ANSWER_TOKENS, context // 4)
    around = count(prompt_text(request, "") + request.schema) + MESSAGE_TOKENS
    most = max(1, int((context - answer - around) * _SAFETY))

    if (total := count(request.text)) <= most:
        return []
    starts = [match.start() for match in _WORDS.finditer(request.text)]
    return split_points(request.text, starts, max(1, most * len(starts) // total), lambda part: count(part) - most)


def context_tokens(facts: Mapping[str, Any]) -> int:
    """The tokens that a model reads and writes at once.

    >>> context_tokens({"meta": {"n_ctx": 4096}}), context_tokens({})
    (4096, 128000)
    """
    nested = facts.get("meta")
    known = {**(nested if isinstance(nested, dict) else {}), **facts}
    values = [known.get(name) for name in _NAMES]
    return next((value for value in values if isinstance(value, int) and value > 0), CONTEXT_TOKENS)
