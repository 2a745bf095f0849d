"""The running batch of a decoder-only model on a GPU: tokens are packed, keys and values lie in pages of one cache.

Rows that begin alike share the slots of their shared prefixes, within a batch and from one batch to the next. Knows no
sampling: it turns token ids into logits.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Series
from typing import TypeVar

import numpy as np
import torch

from sqlinfer.engine.attention.paged_runner import PagedModel
from sqlinfer.engine.attention.query_spans import Rows
from sqlinfer.engine.cache.page_pool import Line, Slots, Span, rectangle
from sqlinfer.engine.cache.prefix_tree import Segment, split
from sqlinfer.engine.sequence import Sequence

Taken = TypeVar("Taken")


class PagedBatch:
    """Sequences in flight, each on a line of the cache."""

    can_merge = True
    is_packed = True

    def __init__(self, paged: PagedModel) -> None:
        self.model = paged.model
        self.rows: list[Sequence] = []
        self._paged = paged
        self._cache = paged.cache
        self.max_tokens = paged.reserve(self)
        self._forget()
        self.clear()

    def clear(self) -> None:
        """Drop all rows and their memory."""
        self.rows = []
        self._lines: dict[int, Line] = {}  # by the id of a row

    def _forget(self) -> None:
        self._read: list[int] = []  # the last prompt, and what holds its slots
        self._read_at: tuple[list[Span], Slots] | None = None

    @torch.inference_mode()
    def join(self, rows: list[Sequence]) -> torch.Tensor:
        """Prefill new rows and add them to the batch. Returns their logits (rows, vocab)."""
        texts = [row.history for row in rows]
        every, last, spans, lines = self._with_pages(lambda: self._place(texts))
        self._cache.show(lines)
        through = {id(one): line.number for segment, line in zip(last, lines, strict=True) for one in segment.chain()}
        logits = self._paged.read(
            np.array([(one.start, len(one.tokens), through[id(one)], one.depth) for one in every]),
            np.concatenate([spans[id(one)].slots[: len(one.tokens)] for one in every]),
            [token for one in every for token in one.tokens],
            [one.end - 1 for one in last],
        )
        for row, line in zip(rows, lines, strict=True):
            row.num_uncomputed_tokens = 0
            self._lines[id(row)] = line
        longest = max(range(len(texts)), key=lambda i: texts[i])  # the next ones come in this order too
        self._read, self._read_at = texts[longest], (lines[longest].spans, lines[longest].slots)
        self.rows = self.rows + rows
        return logits

    @torch.inference_mode()
    def step(self) -> torch.Tensor:
        """Feed each row all that it has not read. Returns the logits (rows, vocab) of the next token."""
        width = max(row.num_uncomputed_tokens for row in self.rows)
        feeds = [row.feeds(width)[0] for row in self.rows]
        lines = [self._lines[id(row)] for row in self.rows]
        self._with_pages(lambda: self._cache.grow(lines, [len(feed) for feed in feeds]))
        if width == 1:
            return self._paged.step([feed[0] for feed in feeds], lines)
        starts = [line.length - len(feed) for line, feed in zip(lines, feeds, strict=True)]
        rows = _continued(feeds, [line.number for line in lines], starts)
        slots = [line.slots[start : line.length] for line, start in zip(lines, starts, strict=True)]
        ends = rows[:, 0] + rows[:, 1] - 1
        return self._paged.read(rows, np.concatenate(slots), _joined(feeds), ends.tolist())

    @torch.inference_mode()
    def read(self, lines: list[int], feeds: list[list[int]]) -> torch.Tensor:
        """Logits (feeds, longest feed, vocab) after each token of feeds that continue lines; the batch stays."""
        continued = [self._lines[id(self.rows[line])] for line in lines]
        spans = self._with_pages(lambda: [self._cache.span(len(feed)) for feed in feeds])
        slots = [span.slots[: len(feed)] for span, feed in zip(spans, feeds, strict=True)]
        before = [line.slots[: line.length] for line in continued]
        table = rectangle([np.concatenate(both) for both in zip(before, slots, strict=True)])
        rows = _continued(feeds, range(len(feeds)), [line.length for line in continued])
        longest = max(map(len, feeds))
        wanted = rows[:, :1] + np.minimum(np.arange(longest), rows[:, 1:2] - 1)
        on_device = torch.from_numpy(table).to(self.model.device)
        logits = self._paged.read(rows, np.concatenate(slots), _joined(feeds), wanted.ravel().tolist(), on_device)
        return logits.view(len(feeds), longest, -1)

    def keep(self, rows: list[Sequence], lines: list[int]) -> None:  # noqa: ARG002 - a row has one line and stays on it
        """Go on with these rows only."""
        self.rows = rows
        self._lines = {id(row): self._lines[id(row)] for row in rows}

    def _place(self, texts: list[list[int]]) -> tuple[list[Segment], list[Segment], dict[int, Span], list[Line]]:
        """What a pass over texts reads, the last segment of each text, slots for each segment, and the texts' lines."""
        every, last = split(texts, self._read, self._read_at)
        spans = {id(segment): self._cache.span(len(segment.tokens)) for segment in every}
        return every, last, spans, [self._line(segment, spans) for segment in last]

    def _line(self, last: Segment, spans: dict[int, Span]) -> Line:
        """The line of the text that ends with a segment."""
        chain = last.chain()
        held, pieces = [], []
        if chain[0].root is not None:
            root, slots = chain[0].root
            held, pieces = list(root), [slots[: chain[0].depth]]
        held += [spans[id(one)] for one in chain]
        pieces += [spans[id(one)].slots[: len(one.tokens)] for one in chain[:-1]]
        pieces.append(spans[id(last)].slots)  # with room for what follows
        return self._cache.line(held, np.concatenate(pieces), last.depth + len(last.tokens))

    def _with_pages(self, work: Callable[[], Taken]) -> Taken:
        """What work gives, which takes pages; those of the last prompt go back if there are too few."""
        try:
            return work()
        except MemoryError:
            if self._read_at is None:
                raise
        self._forget()
        return work()


def _continued(feeds: Series[list[int]], lines: Series[int], places: Series[int]) -> Rows:
    """The numbers of feeds that lie one after another in a pass."""
    counts = np.array([len(feed) for feed in feeds])
    return np.stack([counts.cumsum() - counts, counts, np.array(lines), np.array(places)], axis=1)


def _joined(feeds: Series[list[int]]) -> list[int]:
    return [token for feed in feeds for token in feed]
