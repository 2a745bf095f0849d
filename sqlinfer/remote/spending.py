"""What one request has used so far, over all its tries: tokens by the server's count, their cost, and the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlinfer.errors import EXCERPT
from sqlinfer.remote.prices import Price

_MOST_TOKENS = 10_000_000
"""Of one answer; a server that says more is wrong."""


class Spending:
    """Counts answers. price: None if it is not known. count: of a text's tokens, where the server gives no count.

    prompt_tokens, completion_tokens: so far.
    cost: in US dollars; None if the price is not known.
    snapshot: what the server reports of the model.
    """

    def __init__(self, price: Price | None, count: Callable[[str], int]) -> None:
        self._price = price
        self.count_tokens = count
        self.prompt_tokens = self.completion_tokens = 0
        self.cost: float | None = None if price is None else 0.0
        self.snapshot = ""

    def add(self, answer: Mapping[str, Any], prompt: str, text: str) -> None:
        """Count the body of an answer, which may be no good; prompt, text: what was read and written."""
        reported = [answer.get(name) for name in ("model", "system_fingerprint")]
        self.snapshot = " ".join(part for part in reported if isinstance(part, str))[:EXCERPT]
        usage = answer.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        details = usage.get("prompt_tokens_details")
        read = _number(usage.get("prompt_tokens"))
        written = _number(usage.get("completion_tokens"))
        read = read or self.count_tokens(prompt)  # no prompt has none
        written = self.count_tokens(text) if written is None else written
        cached = min(_number(details.get("cached_tokens")) or 0 if isinstance(details, dict) else 0, read)
        self.prompt_tokens += read
        self.completion_tokens += written
        cost = usage.get("cost")  # OpenRouter's own word on it
        if isinstance(cost, int | float) and not isinstance(cost, bool) and cost >= 0:
            self.cost = (self.cost or 0.0) + cost
        elif self._price is not None:
            self.cost = (self.cost or 0.0) + self._price.of(read, written, cached)


def _number(value: Any) -> int | None:
    """A count of tokens, if it can be one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else None
