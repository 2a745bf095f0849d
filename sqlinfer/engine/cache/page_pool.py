"""A cache of keys and values in pages: rows take pages as they grow, and share those of what they begin with.

A table has the slot of each token of each line, so that rows share prefixes of any length. Pages and lines go back
when nothing refers to what holds them. Knows no model and no sequences.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from itertools import chain

import numpy as np
import torch

from sqlinfer.engine.cache.length_bucket import States

PAGE = 16  # tokens; neighbours in memory, so that few numbers name many slots
FULL = "the cache of keys and values is full"
LEAST_WIDTH = 512  # places of the table's lines, to begin with
Slots = np.ndarray[tuple[int], np.dtype[np.int32]]


class Lease:
    """Numbers from a list of free ones; they go back when the lease is gone. Raises MemoryError."""

    def __init__(self, free: list[int], count: int) -> None:
        self._free = free
        self.numbers: list[int] = []
        self.take(count)

    def take(self, count: int) -> list[int]:
        """As many numbers more."""
        taken: list[int] = []
        try:
            while len(taken) < count:
                taken.append(self._free.pop())
        except IndexError:
            self._free.extend(taken)
            raise MemoryError(FULL) from None
        self.numbers += taken
        return taken

    def __del__(self) -> None:
        self._free.extend(self.numbers)


class Span:
    """Slots for tokens that follow each other, in pages of their own."""

    def __init__(self, free: list[int], count: int) -> None:
        self._lease = Lease(free, -(-count // PAGE))
        self.slots = _slots(self._lease.numbers)

    def grow(self) -> Slots:
        """The slots of one page more."""
        return _slots(self._lease.take(1))


class Line:
    """Where the tokens of a row are. slots: of its tokens and of some to come. length: tokens that it has.

    number: of its line in the table. spans: what holds the slots; the last one is the row's own.
    """

    def __init__(self, lease: Lease, spans: list[Span], slots: Slots, length: int) -> None:
        self.spans = spans
        self.slots = slots
        self.length = length
        self._lease = lease

    @property
    def number(self) -> int:
        return self._lease.numbers[0]


class PageCache:
    """Keys and values of all layers, and the table of who has which. Line 0 and page 0 are for what fills up a step."""

    def __init__(self, num_pages: int, num_lines: int, device: torch.device) -> None:
        self.num_slots = num_pages * PAGE
        self.num_lines = num_lines
        self.table = torch.zeros(num_lines + 1, LEAST_WIDTH, dtype=torch.int32, device=device)
        self._states: dict[int, States] = {}  # of each layer (slots, heads, dim)
        self._free_pages = list(range(num_pages - 1, 0, -1))
        self._free_lines = list(range(num_lines, 0, -1))

    def resized(self, num_pages: int, num_lines: int) -> PageCache:
        """An empty cache of the same kind, with memory for all layers that have written."""
        other = PageCache(num_pages, num_lines, self.table.device)
        for layer, (keys, values) in self._states.items():
            other._states[layer] = (other._empty(keys), other._empty(values))
        return other

    @property
    def num_layers(self) -> int:
        """Layers that have written."""
        return len(self._states)

    @property
    def bytes_per_slot(self) -> int:
        """Of the keys and values of one token in all layers that have written."""
        return sum(part.nbytes // self.num_slots for part in chain.from_iterable(self._states.values()))

    def span(self, count: int) -> Span:
        """Slots for so many tokens. Raises MemoryError."""
        return Span(self._free_pages, count)

    def line(self, spans: list[Span], slots: Slots, length: int) -> Line:
        """A line of the table for a row. Raises MemoryError."""
        return Line(Lease(self._free_lines, 1), spans, slots, length)

    def show(self, lines: Series[Line]) -> None:
        """Write lines into the table."""
        shown = rectangle([line.slots for line in lines])
        self._widen(shown.shape[1])
        numbers = torch.tensor([line.number for line in lines], device=self.table.device)
        self.table[numbers, : shown.shape[1]] = torch.from_numpy(shown).to(self.table.device)

    def grow(self, lines: Series[Line], counts: Series[int]) -> None:
        """Make room for so many tokens more on each line. Raises MemoryError, and then no line has changed."""
        missing = [line.length + count - len(line.slots) for line, count in zip(lines, counts, strict=True)]
        if sum(-(-count // PAGE) for count in missing if count > 0) > len(self._free_pages):
            raise MemoryError(FULL)
        numbers, places, slots = [], [], []
        for line, count in zip(lines, counts, strict=True):
            line.length += count
            while line.length > len(line.slots):
                numbers.append(line.number)
                places.append(len(line.slots))
                slots.append(line.spans[-1].grow())
                line.slots = np.concatenate([line.slots, slots[-1]])
        if numbers:
            self._widen(max(places) + PAGE)
            device = self.table.device
            index = torch.tensor([numbers, places], device=device)[:, :, None]
            columns = index[1] + torch.arange(PAGE, device=device)
            self.table[index[0], columns] = torch.from_numpy(np.stack(slots)).to(device)

    def write(self, layer: int, slots: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> States:
        """Put keys and values (tokens, heads, dim) into slots; returns all of the layer's (slots, heads, dim)."""
        if layer not in self._states:
            self._states[layer] = (self._empty(keys), self._empty(values))
        for kept, new in zip(self._states[layer], (keys, values), strict=True):
            kept[slots] = new
        return self._states[layer]

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        return like.new_empty(self.num_slots, *like.shape[1:])

    def _widen(self, width: int) -> None:
        """Give the lines of the table so many places, and more: a new table."""
        if width > self.table.shape[1]:
            wider = self.table.new_zeros(len(self.table), 1 << (width - 1).bit_length())
            wider[:, : self.table.shape[1]] = self.table
            self.table = wider


def rectangle(rows: Series[Slots]) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """Rows of unequal length, filled up with zeros."""
    filled = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for one, row in zip(filled, rows, strict=True):
        one[: len(row)] = row
    return filled


def _slots(pages: list[int]) -> Slots:
    slots: Slots = np.add.outer(np.array(pages) * PAGE, np.arange(PAGE)).ravel().astype(np.int32)
    return slots
