"""What a pass over a paged cache reads: feeds, each of tokens that follow each other on one line of the cache."""

from __future__ import annotations

import numpy as np
import torch

Rows = np.ndarray[tuple[int, int], np.dtype[np.int64]]


class QuerySpans:
    """For each feed its first token among those of the pass, how many there are, its line, the first one's place in it.

    is_single: whether each feed is one token.
    """

    def __init__(self, rows: Rows, device: torch.device) -> None:
        self.is_single = bool((rows[:, 1] == 1).all())
        self._rows = rows
        self._device = device
        self._blocks: dict[int, torch.Tensor] = {}

    @classmethod
    def single(cls, lines: torch.Tensor, places: torch.Tensor) -> QuerySpans:
        """Spans of one token each, whose lines and places are on the device already."""
        feeds = cls(np.zeros((0, 4), np.int64), lines.device)
        starts = torch.arange(len(lines), device=lines.device)
        feeds._blocks[0] = torch.stack([starts, torch.ones_like(starts), lines, places], dim=1).int()
        return feeds

    def blocks(self, most: int) -> torch.Tensor:
        """The same numbers (blocks, 4) for pieces of feeds of at most so many tokens, int32."""
        most = 0 if self.is_single else most
        if most not in self._blocks:
            rows = self._rows if self.is_single else _cut(self._rows, most)
            self._blocks[most] = torch.from_numpy(rows.astype(np.int32)).to(self._device)
        return self._blocks[most]


def _cut(rows: Rows, most: int) -> Rows:
    """
    >>> _cut(np.array([[0, 5, 7, 10], [5, 1, 8, 0]]), 4).tolist()
    [[0, 4, 7, 10], [4, 1, 7, 14], [5, 1, 8, 0]]
    """
    counts = rows[:, 1]
    pieces = -(-counts // most)
    index = np.repeat(np.arange(len(rows)), pieces)
    before = (np.arange(len(index)) - np.repeat(pieces.cumsum() - pieces, pieces)) * most
    start, count, line, place = rows[index].T
    return np.stack([start + before, np.minimum(count - before, most), line, place + before], axis=1)
