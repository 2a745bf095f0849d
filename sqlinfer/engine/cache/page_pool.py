"""A paged KV cache, as in PagedAttention (Kwon et al. 2023, arXiv 2309.06180): rows take pages as they grow.

The block table has a slot for each token instead of a page for each block of them, so that rows share prefixes of any
length. Pages and block table rows are freed when nothing refers to their holder. Knows no model and no sequences.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from itertools import chain

import numpy as np
import torch

from sqlinfer.engine.cache.length_bucket import KV

PAGE_SIZE = 16  # slots
FULL = "the KV cache is full"
MIN_WIDTH = 512  # columns of a new block table
SlotMapping = np.ndarray[tuple[int], np.dtype[np.int32]]


class BlockAllocation:
    """Ids taken from a free list; they return to it when the allocation is gone.

    ids: what it holds.
    """

    def __init__(self, free_ids: list[int], count: int) -> None:
        self._free_ids = free_ids
        self.ids: list[int] = []
        self.take(count)

    def take(self, count: int) -> list[int]:
        """Take count ids more. Raises MemoryError."""
        taken: list[int] = []
        try:
            while len(taken) < count:
                taken.append(self._free_ids.pop())
        except IndexError:
            self._free_ids.extend(taken)
            raise MemoryError(FULL) from None
        self.ids += taken
        return taken

    def __del__(self) -> None:
        self._free_ids.extend(self.ids)


class BlockRun:
    """Pages of consecutive tokens, which rows may share.

    slot_mapping: the slots of the pages it was made with.
    """

    def __init__(self, free_pages: list[int], num_tokens: int) -> None:
        self._pages = BlockAllocation(free_pages, -(-num_tokens // PAGE_SIZE))
        self.slot_mapping = _slots_of(self._pages.ids)

    def grow(self) -> SlotMapping:
        """Take one page more. Returns its slots."""
        return _slots_of(self._pages.take(1))


class BlockTableRow:
    """The slots of one row's tokens.

    runs: hold the pages; the last run is the row's own.
    slot_mapping: slots of its tokens and of some to come.
    length: number of its tokens.
    """

    def __init__(self, free_rows: list[int], runs: list[BlockRun], slot_mapping: SlotMapping, length: int) -> None:
        self.runs = runs
        self.slot_mapping = slot_mapping
        self.length = length
        self._allocation = BlockAllocation(free_rows, 1)

    @property
    def index(self) -> int:
        """Its row in the block table."""
        return self._allocation.ids[0]


class PageCache:
    """Keys and values of all layers, and the block table. Page 0 and row 0 serve the padding of a decode step.

    num_slots: slots of all pages.
    max_rows: rows that the block table has place for.
    block_table: slots (rows, positions), int32.
    """

    def __init__(self, num_pages: int, max_rows: int, device: torch.device) -> None:
        self.num_slots = num_pages * PAGE_SIZE
        self.max_rows = max_rows
        self.block_table = torch.zeros(max_rows + 1, MIN_WIDTH, dtype=torch.int32, device=device)
        self._kv: dict[int, KV] = {}  # of each layer (slots, heads, dim)
        self._free_pages = list(range(num_pages - 1, 0, -1))
        self._free_rows = list(range(max_rows, 0, -1))

    def resized(self, num_pages: int, max_rows: int) -> PageCache:
        """An empty cache of another size, with memory for all layers that have written."""
        other = PageCache(num_pages, max_rows, self.block_table.device)
        for layer, (keys, values) in self._kv.items():
            other._kv[layer] = (other._empty(keys), other._empty(values))
        return other

    @property
    def num_layers(self) -> int:
        """Layers that have written."""
        return len(self._kv)

    @property
    def bytes_per_slot(self) -> int:
        """Bytes of one token's keys and values in all layers that have written."""
        return sum(part.nbytes // self.num_slots for part in chain.from_iterable(self._kv.values()))

    def allocate_run(self, num_tokens: int) -> BlockRun:
        """Pages for so many tokens. Raises MemoryError."""
        return BlockRun(self._free_pages, num_tokens)

    def allocate_row(self, runs: list[BlockRun], slot_mapping: SlotMapping, length: int) -> BlockTableRow:
        """A row of the block table, yet to be written. Raises MemoryError."""
        return BlockTableRow(self._free_rows, runs, slot_mapping, length)

    def write_block_table(self, rows: Series[BlockTableRow]) -> None:
        """Write rows into the block table."""
        slots = pad_slots([row.slot_mapping for row in rows])
        self._widen(slots.shape[1])
        indices = torch.tensor([row.index for row in rows], device=self.block_table.device)
        self.block_table[indices, : slots.shape[1]] = torch.from_numpy(slots).to(self.block_table.device)

    def grow(self, rows: Series[BlockTableRow], counts: Series[int]) -> None:
        """Add so many tokens to each row, with pages where needed. Raises MemoryError, and then no row has changed."""
        missing = [row.length + count - len(row.slot_mapping) for row, count in zip(rows, counts, strict=True)]
        if sum(-(-count // PAGE_SIZE) for count in missing if count > 0) > len(self._free_pages):
            raise MemoryError(FULL)
        indices, positions, slots = [], [], []  # of each page taken
        for row, count in zip(rows, counts, strict=True):
            row.length += count
            while row.length > len(row.slot_mapping):
                indices.append(row.index)
                positions.append(len(row.slot_mapping))
                slots.append(row.runs[-1].grow())
                row.slot_mapping = np.concatenate([row.slot_mapping, slots[-1]])
        if indices:
            self._widen(max(positions) + PAGE_SIZE)
            device = self.block_table.device
            at = torch.tensor([indices, positions], device=device)[:, :, None]
            columns = at[1] + torch.arange(PAGE_SIZE, device=device)
            self.block_table[at[0], columns] = torch.from_numpy(np.stack(slots)).to(device)

    def write(self, layer: int, slot_mapping: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> KV:
        """Write keys and values (tokens, heads, dim) into slots. Returns all of the layer's (slots, heads, dim)."""
        if layer not in self._kv:
            self._kv[layer] = (self._empty(keys), self._empty(values))
        for cached, new in zip(self._kv[layer], (keys, values), strict=True):
            cached[slot_mapping] = new
        return self._kv[layer]

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_empty(self.num_slots, *like.shape[1:])

    def _widen(self, width: int) -> None:
        """Give the block table at least so many columns; a wider one is a new tensor."""
        if width > self.block_table.shape[1]:
            wider = self.block_table.new_zeros(len(self.block_table), 1 << (width - 1).bit_length())
            wider[:, : self.block_table.shape[1]] = self.block_table
            self.block_table = wider


def pad_slots(rows: Series[SlotMapping]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """Rows of unequal length, padded with zeros on the right."""
    padded = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded


def _slots_of(pages: list[int]) -> SlotMapping:
    slots: SlotMapping = np.add.outer(np.array(pages) * PAGE_SIZE, np.arange(PAGE_SIZE)).ravel().astype(np.int32)
    return slots
