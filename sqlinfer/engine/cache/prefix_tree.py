"""What a pass over several texts reads: each token once, also where texts begin alike. Knows no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Series
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

LEAST_SHARED = 16  # tokens; to read fewer again costs less than to keep them apart
LEAST_SAVED = 512  # tokens of a cache; to read fewer from memory costs less than an attention in two parts


@dataclass(slots=True, eq=False)
class Segment:
    """Tokens that follow each other, of one text or of all that begin alike.

    depth: tokens before them in a text. parent: the segment that holds the last of those; None for the first of a text.
    root: what holds all of those, where there is no parent. start: their place among the tokens of the pass.
    """

    tokens: list[int]
    depth: int
    parent: Segment | None = None
    root: Any = None
    start: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)

    def chain(self) -> list[Segment]:
        """The segments of a text up to this one, in order."""
        found = [self]
        while found[-1].parent is not None:
            found.append(found[-1].parent)
        return found[::-1]


def split(texts: Series[list[int]], kept: list[int], root: Any) -> tuple[list[Segment], list[Segment]]:
    """All segments of texts, in the order of a pass, and the last segment of each text; each has tokens of its own.

    kept: what an earlier pass has read and root holds; texts that begin like it go on from there.

    >>> every, last = split([[1] * 20 + [2], [1] * 20 + [3, 4], [5]], [], None)
    >>> [(s.start, len(s.tokens), s.depth) for s in every], [s.start for s in last]
    ([(0, 20, 0), (20, 1, 20), (21, 2, 20), (23, 1, 0)], [20, 21, 23])
    """
    every: list[Segment] = []
    last: dict[int, Segment] = {}
    order = sorted(range(len(texts)), key=lambda i: texts[i])
    for depth, places in groupby(order, key=lambda i: _shared(texts[i], kept)):
        for place, segment, is_last in _grow(texts, list(places), depth, None):
            segment.root = root if segment.parent is None and depth else None
            segment.start = every[-1].end if every else 0
            every.append(segment)
            if is_last:
                last[place] = segment
    return every, [last[i] for i in range(len(texts))]


def choose_shared_prefixes(
    texts: Series[list[int]], last: Series[Segment], running: Mapping[tuple[int, ...], int]
) -> list[tuple[int, ...] | None]:
    """What each text should share with others in the cache: the beginning that saves most; None where none is worth it.

    last: the last segment of each text. running: shared prefixes that rows share already, and how many rows.
    """
    fits = [{tuple(text[: part.depth]) for part in one.chain()} for text, one in zip(texts, last, strict=True)]
    for text, fit in zip(texts, fits, strict=True):
        fit |= {begin for begin in running if len(begin) < len(text) and tuple(text[: len(begin)]) == begin}
    counts = Counter(running)
    counts.update(begin for fit in fits for begin in fit)
    best = [max(fit, key=lambda begin: (counts[begin] - 1) * len(begin)) for fit in fits]
    return [begin if (counts[begin] - 1) * len(begin) >= LEAST_SAVED else None for begin in best]


def _grow(
    texts: Series[list[int]], places: list[int], depth: int, parent: Segment | None
) -> Iterator[tuple[int, Segment, bool]]:
    """Segments of sorted texts that share depth tokens, parents first: (place of a text, segment, is it its last)."""
    if len(places) == 1:
        yield places[0], Segment(texts[places[0]][depth:], depth, parent), True
        return
    shared = _shared(texts[places[0]], texts[places[-1]])  # those between the two begin with what both begin with
    shared = min(shared, min(len(texts[i]) for i in places) - 1)
    if shared >= depth + LEAST_SHARED:
        parent = Segment(texts[places[0]][depth:shared], depth, parent)
        yield places[0], parent, False
        depth = shared
    group = places[:1]
    for before, place in pairwise(places):
        if _shared(texts[before], texts[place]) < depth + LEAST_SHARED:
            yield from _grow(texts, group, depth, parent)
            group = []
        group.append(place)
    yield from _grow(texts, group, depth, parent)


def _shared(text: list[int], other: list[int]) -> int:
    """How many tokens two texts begin with alike; the last of the first is not counted, and few count as none."""
    end = min(len(text) - 1, len(other))
    same = next((i for i in range(end) if text[i] != other[i]), end)
    return same if same >= LEAST_SHARED else 0
