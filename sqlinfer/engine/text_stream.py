"""Passes an answer on while it is written: in whole characters, and nothing that may be the start of a stop text.

Knows no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlinfer.types import Piece, TokenLogprob

CUT_CHARACTER = "\ufffd"  # what the bytes of half of a character are decoded to
PERIOD_S = 0.02
"""Between two pieces of an answer, at least: each costs about as much as a token of a small model."""
_WINDOW = 16  # tokens that are decoded again for each piece, at most
_CONTEXT = 4  # tokens before a token on which its text may depend
Decode = Callable[[list[int]], str]
Logprobs = Sequence[tuple[float, list[tuple[int, float]]]]


class TextStream:
    """The pieces of one answer. stops: the stop texts. on_piece: takes them."""

    def __init__(self, decode: Decode, stops: Sequence[str], on_piece: Callable[[Piece], None]) -> None:
        self._decode = decode
        self._stops = stops
        self._on_piece = on_piece
        self._start = 0  # the first token that is decoded again
        self._num_shown = 0  # characters of what is decoded again that were seen before
        self._num_tokens = 0
        self._num_logprobs = 0
        self._held = ""
        self._next_s = 0.0

    def push(self, output: list[int], logprobs: Logprobs) -> None:
        """Pass on what is new in the tokens of an unfinished answer; one that began again passes on nothing twice."""
        now_s = time.monotonic()
        if now_s < self._next_s or len(output) <= self._num_tokens:
            return
        text = self._decode(output[self._start :])
        if text.endswith(CUT_CHARACTER):
            return
        self._held += text[self._num_shown :]
        self._num_tokens = len(output)
        if self._num_tokens - self._start > _WINDOW:
            self._start = self._num_tokens - _CONTEXT
            text = self._decode(output[self._start :])
        self._num_shown = len(text)
        ready = self._held[: len(self._held) - self._num_withheld()]
        if ready:
            self._held = self._held[len(ready) :]
            tokens = token_logprobs(self._decode, output, logprobs, self._num_logprobs)
            self._num_logprobs += len(tokens)
            self._next_s = now_s + PERIOD_S
            self._on_piece(Piece(ready, tokens))

    def _num_withheld(self) -> int:
        """Characters at the end of what is held that may begin a stop text."""
        starts = (stop[:size] for stop in self._stops for size in range(len(stop) - 1, 0, -1))
        return max((len(start) for start in starts if self._held.endswith(start)), default=0)


def token_logprobs(decode: Decode, output: list[int], logprobs: Logprobs, first: int = 0) -> tuple[TokenLogprob, ...]:
    """The tokens of an answer from the first on, with their log-probabilities."""
    tokens = []
    for at in range(first, len(logprobs)):
        before = output[max(0, at - _CONTEXT) : at]
        prefix = decode(before)

        def text(token: int, before: list[int] = before, prefix: str = prefix) -> str:
            written = decode([*before, token])
            return written.removeprefix(prefix) if written.startswith(prefix) else CUT_CHARACTER

        logprob, likeliest = logprobs[at]
        tokens.append(TokenLogprob(text(output[at]), logprob, tuple((text(token), each) for token, each in likeliest)))
    return tuple(tokens)
