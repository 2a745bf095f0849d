"""What is known of an answer besides its text while it is written. Knows nothing but the standard library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of an answer with the logarithm of the probability that the model gave it, before any sampling."""

    text: str
    """What it adds to the answer; \ufffd for a part of a character."""
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()
    """The likeliest tokens in its place, each with its own, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of an answer that is being written."""

    text: str
    tokens: tuple[TokenLogprob, ...] = ()
    """Since the last piece, if the request asks for them; they may be ahead of the text."""
