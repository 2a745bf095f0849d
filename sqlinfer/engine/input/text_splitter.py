"""Where a long text is cut into parts that a model can read: after a paragraph, a line, a sentence or a word.

Knows no tokenizer.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence

_BORDERS = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    re.compile(r"\n\s*"),
    re.compile(r"""[.!?\u2026]["')\]\u201d\u2019]*\s+|[\u3002\uff01\uff1f]"""),
    re.compile(r"\s+"),
)


def places(text: str, starts: Sequence[int], room: int, excess: Callable[[str], int]) -> list[int]:
    """Where to cut a text, in characters; each part is as long as can be, so what is added at the end moves no cut.

    starts: where its tokens begin. room: how many of them fit, at least 1. excess: how many tokens a part, stripped,
    has too many; they may be others than in the whole text. Raises ValueError if not even one character fits.
    """
    cuts: list[int] = []
    start = 0
    while start < len(text):
        after = bisect_left(starts, start) + room
        end = border(text, start, max(starts[after], start + 1)) if after < len(starts) else len(text)
        while (over := excess(text[start:end].strip())) > 0:
            if end - start == 1:
                raise ValueError("not even one character of the text fits; take a model that reads longer texts")
            shorter = (end - start) * room // (room + over)
            end = border(text, start, start + max(1, min(shorter, end - start - 1)))
        cuts.append(end)
        start = end
    return cuts[:-1]


def border(text: str, start: int, end: int) -> int:
    """The last good place to cut text in the second half of text[start:end], the best kind first; end if there is none.

    >>> border("One. Two three. Four", 0, 18)
    16
    >>> border("One two", 0, 6)
    4
    >>> border("onetwo", 0, 5)
    5
    """
    half = start + (end - start) // 2
    for kind in _BORDERS:
        places = [match.end() for match in kind.finditer(text, half, end)]
        if places:
            return places[-1]
    return end
