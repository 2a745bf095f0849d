"""The running batch of a decoder-only model on a GPU: tokens are packed, the KV cache is paged (PagedAttention, vLLM).

Rows share the cache of their shared prefixes, within a batch and from one batch to the next. Knows no sampling: it
turns token ids into logits.
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

T = TypeVar("T")


class PagedDecoderBatch:
    """Sequences in flight, each with a row of the block table."""

    can_merge = True
    is_packed = True

    def __init__(self, paged: PagedModel) -> None:
        self.model = paged.model
        self.rows: list[Sequence] = []
        self._paged = paged
        self._cache = paged.cache
        self.max_tokens = paged.reserve(self)
        self._forget_last_prompt()
        self.clear()

    def clear(self) -> None:
        """Drop all rows and their memory."""
        self.rows = []
        self._lines: dict[int, Line] = {}  # by the id of a row

    def _forget_last_prompt(self) -> None:
        self._last_prompt: list[int] = []  # and the pages that hold it
        self._last_pages: tuple[list[Span], Slots] | None = None

    @torch.inference_mode()
    def prefill(self, rows: list[Sequence]) -> torch.Tensor:
        """Add rows and run their prompts. Returns their logits (rows, vocab)."""
        texts = [row.token_ids for row in rows]
        every, last, spans, lines = self._with_pages(lambda: self._allocate(texts))
        self._cache.show(lines)
        table_row = {id(node): line.number for end, line in zip(last, lines, strict=True) for node in end.chain()}
        logits = self._paged.read(
            np.array([(node.start, len(node.tokens), table_row[id(node)], node.depth) for node in every]),
            np.concatenate([spans[id(node)].slots[: len(node.tokens)] for node in every]),
            [token for node in every for token in node.tokens],
            [node.end - 1 for node in last],
        )
        for row, line in zip(rows, lines, strict=True):
            row.num_uncomputed_tokens = 0
            self._lines[id(row)] = line
        longest = max(range(len(texts)), key=lambda i: texts[i])  # the next ones come in this order too
        self._last_prompt, self._last_pages = texts[longest], (lines[longest].spans, lines[longest].slots)
        self.rows = self.rows + rows
        return logits

    @torch.inference_mode()
    def decode(self) -> torch.Tensor:
        """Run each row's uncomputed tokens. Returns the logits (rows, vocab) of the next token."""
        width = max(row.num_uncomputed_tokens for row in self.rows)
        input_ids = [row.take_input_ids(width)[0] for row in self.rows]
        lines = [self._lines[id(row)] for row in self.rows]
        self._with_pages(lambda: self._cache.grow(lines, list(map(len, input_ids))))
        if width == 1:
            return self._paged.step([ids[0] for ids in input_ids], lines)
        starts = [line.length - len(ids) for line, ids in zip(lines, input_ids, strict=True)]
        spans = _query_spans(input_ids, [line.number for line in lines], starts)
        slot_mapping = [line.slots[start : line.length] for line, start in zip(lines, starts, strict=True)]
        ends = spans[:, 0] + spans[:, 1] - 1
        return self._paged.read(spans, np.concatenate(slot_mapping), _flatten(input_ids), ends.tolist())

    @torch.inference_mode()
    def score_suffixes(self, slots: list[int], suffixes: list[list[int]]) -> torch.Tensor:
        """Logits (suffixes, longest suffix, vocab) after each token of suffixes of slots; the batch stays."""
        lines = [self._lines[id(self.rows[slot])] for slot in slots]
        pages = self._with_pages(lambda: [self._cache.span(len(suffix)) for suffix in suffixes])
        slot_mapping = [page.slots[: len(suffix)] for page, suffix in zip(pages, suffixes, strict=True)]
        cached = [line.slots[: line.length] for line in lines]
        block_table = rectangle([np.concatenate(parts) for parts in zip(cached, slot_mapping, strict=True)])
        spans = _query_spans(suffixes, range(len(suffixes)), [line.length for line in lines])
        longest = max(map(len, suffixes))
        wanted = (spans[:, :1] + np.minimum(np.arange(longest), spans[:, 1:2] - 1)).ravel().tolist()
        on_device = torch.from_numpy(block_table).to(self.model.device)
        logits = self._paged.read(spans, np.concatenate(slot_mapping), _flatten(suffixes), wanted, on_device)
        return logits.view(len(suffixes), longest, -1)

    def retain(self, rows: list[Sequence], slots: list[int]) -> None:  # noqa: ARG002 - a row has one slot
        """Drop all rows but these."""
        self.rows = rows
        self._lines = {id(row): self._lines[id(row)] for row in rows}

    def _allocate(self, texts: list[list[int]]) -> tuple[list[Segment], list[Segment], dict[int, Span], list[Line]]:
        """Nodes of the prefix tree over texts, the last node of each text, pages of each node, and block-table rows."""
        every, last = split(texts, self._last_prompt, self._last_pages)
        spans = {id(segment): self._cache.span(len(segment.tokens)) for segment in every}
        return every, last, spans, [self._line(segment, spans) for segment in last]

    def _line(self, last: Segment, spans: dict[int, Span]) -> Line:
        """The block-table row of the text that ends with a node of the prefix tree."""
        chain = last.chain()
        held, pieces = [], []
        if chain[0].root is not None:
            root, slots = chain[0].root
            held, pieces = list(root), [slots[: chain[0].depth]]
        held += [spans[id(node)] for node in chain]
        pieces += [spans[id(node)].slots[: len(node.tokens)] for node in chain[:-1]]
        pieces.append(spans[id(last)].slots)  # over-allocated, for the tokens to come
        return self._cache.line(held, np.concatenate(pieces), last.depth + len(last.tokens))

    def _with_pages(self, work: Callable[[], T]) -> T:
        """What work returns, which allocates pages; those of the last prompt are freed if there are too few."""
        try:
            return work()
        except MemoryError:
            if self._last_pages is None:
                raise
        self._forget_last_prompt()
        return work()


def _query_spans(queries: Series[list[int]], table_rows: Series[int], positions: Series[int]) -> Rows:
    """Query spans (start, count, block-table row, first position) of queries that lie one after another in a pass."""
    counts = np.array([len(query) for query in queries])
    return np.stack([counts.cumsum() - counts, counts, np.array(table_rows), np.array(positions)], axis=1)


def _flatten(queries: Series[list[int]]) -> list[int]:
    return [token for query in queries for token in query]
