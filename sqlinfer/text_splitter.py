"""Splits a long text into parts that fit a model: after a paragraph, a line, a sentence or a word.

Knows no tokenizer.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence

_BOUNDARIES = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    re.compile(r"\n\s*"),
    re.compile(r"""[.!?\u2026]["')\]\u201d\u2019]*\s+|[\u3002\uff01\uff1f]"""),
    re.compile(r"\s+"),
)


def split_points(text: str, token_starts: Sequence[int], max_tokens: int, excess: Callable[[str], int]) -> list[int]:
    """Character offsets at which to split a text; each part is as long as fits, so that appended text moves no split.

    token_starts: the offsets of its tokens. max_tokens: how many of them fit, at least 1. excess: how many tokens a
    part, stripped, has too many; alone it may have others than in the whole text. Raises ValueError if not even one
    character fits.
    """
    points: list[int] = []
    start = 0
    while start < len(text):
        after = bisect_left(token_starts, start) + max_tokens
        is_last = after >= len(token_starts)
        end = len(text) if is_last else best_boundary(text, start, max(token_starts[after], start + 1))
        while (over := excess(text[start:end].strip())) > 0:
            if end - start == 1:
                raise ValueError("not even one character of the text fits; take a model that reads longer texts")
            shorter = (end - start) * max_tokens // (max_tokens + over)
            end = best_boundary(text, start, start + max(1, min(shorter, end - start - 1)))
        points.append(end)
        start = end
    return points[:-1]


def best_boundary(text: str, start: int, end: int) -> int:
    """The last boundary in the second half of text[start:end], of the best sort that occurs; end if there is none.

    >>> best_boundary("One. Two three. Four", 0, 18)
    16
    >>> best_boundary("One two", 0, 6)
    4
    >>> best_boundary("onetwo", 0, 5)
    5
    """
    half = start + (end - start) // 2
    for pattern in _BOUNDARIES:
        ends = [match.end() for match in pattern.finditer(text, half, end)]
        if ends:
            return ends[-1]
    return end
