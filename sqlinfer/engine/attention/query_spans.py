"""The query tokens of a forward pass over a paged cache: spans of consecutive tokens, each on a block table row."""

from __future__ import annotations

import numpy as np
import torch

SpanTable = np.ndarray[tuple[int, int], np.dtype[np.int64]]
"""(spans, 4): index of its first token in the pass (as in cu_seqlens_q), its length, its block table row, and the
position of its first token in that row."""


class QuerySpans:
    """Query spans on the device, in blocks as a kernel's tile wants them.

    is_single: whether each span is one token, as in a decode step.
    """

    def __init__(self, spans: SpanTable, device: torch.device) -> None:
        self.is_single = bool((spans[:, 1] == 1).all())
        self._spans = spans
        self._device = device
        self._blocks: dict[int, torch.Tensor] = {}

    @classmethod
    def single(cls, rows: torch.Tensor, positions: torch.Tensor) -> QuerySpans:
        """Spans of one token each, whose rows and positions are on the device already."""
        spans = cls(np.zeros((0, 4), np.int64), rows.device)
        starts = torch.arange(len(rows), device=rows.device)
        spans._blocks[0] = torch.stack([starts, torch.ones_like(starts), rows, positions], dim=1).int()
        return spans

    def blocks(self, max_tokens: int) -> torch.Tensor:
        """The table (blocks, 4), int32, of the spans cut into blocks of at most max_tokens."""
        max_tokens = 0 if self.is_single else max_tokens
        if max_tokens not in self._blocks:
            spans = self._spans if self.is_single else _cut(self._spans, max_tokens)
            self._blocks[max_tokens] = torch.from_numpy(spans.astype(np.int32)).to(self._device)
        return self._blocks[max_tokens]


def _cut(spans: SpanTable, max_tokens: int) -> SpanTable:
    """
    >>> _cut(np.array([[0, 5, 7, 10], [5, 1, 8, 0]]), 4).tolist()
    [[0, 4, 7, 10], [4, 1, 7, 14], [5, 1, 8, 0]]
    """
    counts = spans[:, 1]
    num_blocks = -(-counts // max_tokens)
    index = np.repeat(np.arange(len(spans)), num_blocks)
    offset = (np.arange(len(index)) - np.repeat(num_blocks.cumsum() - num_blocks, num_blocks)) * max_tokens
    start, count, row, position = spans[index].T
    return np.stack([start + offset, np.minimum(count - offset, max_tokens), row, position + offset], axis=1)
