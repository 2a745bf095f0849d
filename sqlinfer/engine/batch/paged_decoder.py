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
from sqlinfer.engine.attention.query_spans import SpanTable
from sqlinfer.engine.cache.page_pool import BlockRun, BlockTableRow, SlotMapping, pad_slots
from sqlinfer.engine.cache.prefix_tree import PrefixNode, build_prefix_tree
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
        self._table_rows: dict[int, BlockTableRow] = {}  # by the id of a row

    def _forget_last_prompt(self) -> None:
        self._last_prompt: list[int] = []  # and the pages that hold it
        self._last_pages: tuple[list[BlockRun], SlotMapping] | None = None

    @torch.inference_mode()
    def prefill(self, rows: list[Sequence]) -> torch.Tensor:
        """Add rows and run their prompts. Returns their logits (rows, vocab)."""
        texts = [row.token_ids for row in rows]
        nodes, leaves, runs, table_rows = self._with_pages(lambda: self._allocate(texts))
        self._cache.write_block_table(table_rows)
        paths = [(leaf.path(), table_row.index) for leaf, table_row in zip(leaves, table_rows, strict=True)]
        row_of = {id(node): index for path, index in paths for node in path}
        logits = self._paged.forward(
            np.array([(node.start, len(node.tokens), row_of[id(node)], node.offset) for node in nodes]),
            np.concatenate([runs[id(node)].slot_mapping[: len(node.tokens)] for node in nodes]),
            [token for node in nodes for token in node.tokens],
            [node.end - 1 for node in leaves],
        )
        for row, table_row in zip(rows, table_rows, strict=True):
            row.num_uncomputed_tokens = 0
            self._table_rows[id(row)] = table_row
        last = max(range(len(texts)), key=lambda i: texts[i])  # the next ones come in this order too
        self._last_prompt, self._last_pages = texts[last], (table_rows[last].runs, table_rows[last].slot_mapping)
        self.rows = self.rows + rows
        return logits

    @torch.inference_mode()
    def decode(self) -> torch.Tensor:
        """Run each row's uncomputed tokens. Returns the logits (rows, vocab) of the next token."""
        width = max(row.num_uncomputed_tokens for row in self.rows)
        input_ids = [row.take_input_ids(width)[0] for row in self.rows]
        table_rows = [self._table_rows[id(row)] for row in self.rows]
        self._with_pages(lambda: self._cache.grow(table_rows, list(map(len, input_ids))))
        if width == 1:
            return self._paged.decode([ids[0] for ids in input_ids], table_rows)
        starts = [row.length - len(ids) for row, ids in zip(table_rows, input_ids, strict=True)]
        spans = _query_spans(input_ids, [row.index for row in table_rows], starts)
        slot_mapping = [row.slot_mapping[start : row.length] for row, start in zip(table_rows, starts, strict=True)]
        ends = spans[:, 0] + spans[:, 1] - 1
        return self._paged.forward(spans, np.concatenate(slot_mapping), _flatten(input_ids), ends.tolist())

    @torch.inference_mode()
    def score_suffixes(self, slots: list[int], suffixes: list[list[int]]) -> torch.Tensor:
        """Logits (suffixes, longest suffix, vocab) after each token of suffixes of slots; the batch stays."""
        table_rows = [self._table_rows[id(self.rows[slot])] for slot in slots]
        runs = self._with_pages(lambda: [self._cache.allocate_run(len(suffix)) for suffix in suffixes])
        slot_mapping = [run.slot_mapping[: len(suffix)] for run, suffix in zip(runs, suffixes, strict=True)]
        cached = [table_row.slot_mapping[: table_row.length] for table_row in table_rows]
        block_table = pad_slots([np.concatenate(parts) for parts in zip(cached, slot_mapping, strict=True)])
        spans = _query_spans(suffixes, range(len(suffixes)), [row.length for row in table_rows])
        longest = max(map(len, suffixes))
        wanted = (spans[:, :1] + np.minimum(np.arange(longest), spans[:, 1:2] - 1)).ravel().tolist()
        on_device = torch.from_numpy(block_table).to(self.model.device)
        logits = self._paged.forward(spans, np.concatenate(slot_mapping), _flatten(suffixes), wanted, on_device)
        return logits.view(len(suffixes), longest, -1)

    def retain(self, rows: list[Sequence], slots: list[int]) -> None:  # noqa: ARG002 - a row has one slot
        """Drop all rows but these."""
        self.rows = rows
        self._table_rows = {id(row): self._table_rows[id(row)] for row in rows}

    def _allocate(
        self, texts: list[list[int]]
    ) -> tuple[list[PrefixNode], list[PrefixNode], dict[int, BlockRun], list[BlockTableRow]]:
        """Nodes of the prefix tree over texts, the leaf of each text, pages of each node, and block table rows."""
        nodes, leaves = build_prefix_tree(texts, self._last_prompt, self._last_pages)
        runs = {id(node): self._cache.allocate_run(len(node.tokens)) for node in nodes}
        return nodes, leaves, runs, [self._table_row(node, runs) for node in leaves]

    def _table_row(self, leaf: PrefixNode, runs: dict[int, BlockRun]) -> BlockTableRow:
        """The block table row of the text that ends with a node of the prefix tree."""
        path = leaf.path()
        held, pieces = [], []
        if path[0].cached_parent is not None:
            cached_runs, slots = path[0].cached_parent
            held, pieces = list(cached_runs), [slots[: path[0].offset]]
        held += [runs[id(node)] for node in path]
        pieces += [runs[id(node)].slot_mapping[: len(node.tokens)] for node in path[:-1]]
        pieces.append(runs[id(leaf)].slot_mapping)  # over-allocated, for the tokens to come
        return self._cache.allocate_row(held, np.concatenate(pieces), leaf.offset + len(leaf.tokens))

    def _with_pages(self, work: Callable[[], T]) -> T:
        """What work returns, which allocates pages; those of the last prompt are freed if there are too few."""
        try:
            return work()
        except MemoryError:
            if self._last_pages is None:
                raise
        self._forget_last_prompt()
        return work()


def _query_spans(queries: Series[list[int]], table_rows: Series[int], positions: Series[int]) -> SpanTable:
    """Query spans (start, count, block table row, first position) of queries that lie one after another in a pass."""
    counts = np.array([len(query) for query in queries])
    return np.stack([counts.cumsum() - counts, counts, np.array(table_rows), np.array(positions)], axis=1)


def _flatten(queries: Series[list[int]]) -> list[int]:
    return [token for query in queries for token in query]
