"""Keys and values of rows of about equal length, so that one attention serves them all with little padding.

Rows come, grow and leave in place: a step copies nothing. What all rows begin with is kept, and read from memory, once
for all of them. Knows no model and no scheduler.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention

from sqlinfer.engine.sequence import Sequence

SPREAD = 32  # tokens; when a row joins, the lengths in a bucket differ by no more
MORE_SLOTS, MORE_ROWS = 64, 8
States = tuple[torch.Tensor, torch.Tensor]  # keys and values, (heads, tokens, head_dim)


@dataclass(frozen=True, slots=True, eq=False)
class SharedPrefix:
    """Tokens that all rows of some buckets begin with, and for each layer their keys and values."""

    tokens: tuple[int, ...]
    states: Series[States]


class LengthBucket:
    """Sequences with their cache: for each layer keys and values of (rows, heads, slots, head_dim).

    Slots beyond a row's length are masked, and hold finite numbers. The tokens of the beginning have no slots.
    """

    def __init__(self, beginning: SharedPrefix | None = None) -> None:
        self.rows: list[Sequence] = []
        self.lengths: list[int] = []
        self.beginning = beginning
        self._num_shared = len(beginning.tokens) if beginning else 0
        self._states: list[torch.Tensor] = []  # for each layer (2, rows, heads, slots, head_dim)
        self._mask: torch.Tensor | None = None

    def takes(self, length: int, beginning: SharedPrefix | None) -> bool:
        """Whether a row of so many tokens fits the others."""
        is_near = max(*self.lengths, length) - min(*self.lengths, length) <= SPREAD
        return is_near and beginning is self.beginning

    def add(self, row: Sequence, length: int) -> None:
        """Take a row in; fill comes next."""
        self.rows.append(row)
        self.lengths.append(length)

    def fill(self, states: Series[Series[Series[States]]]) -> None:
        """Write the keys and values of the rows that were added. states: of each row, for each layer, in pieces."""
        first = len(self.rows) - len(states)
        self._reserve(len(self.rows), max(self.lengths) - self._num_shared, states[0])
        for place, of_row in enumerate(states, first):
            for kept, pieces in zip(self._states, of_row, strict=True):
                end = -self._num_shared
                for keys, values in pieces:
                    start, end = end, end + keys.shape[1]
                    if end > 0:
                        own = max(0, -start)
                        kept[0, place, :, start + own : end] = keys[:, own:]
                        kept[1, place, :, start + own : end] = values[:, own:]
                kept[:, place, :, end:] = 0

    def grow(self, counts: Series[int]) -> None:
        """Make room for so many more tokens of each row, before they are written."""
        self.lengths = [length + count for length, count in zip(self.lengths, counts, strict=True)]
        if max(self.lengths) - self._num_shared > self._states[0].shape[3]:
            self._states = [_larger(states, 0, MORE_SLOTS) for states in self._states]

    def write(self, layer: int, place: int, states: States) -> None:
        """Put the keys and values of a row's last tokens into its slots."""
        end = self.lengths[place] - self._num_shared
        start = end - states[0].shape[1]
        for kept, new in zip(self._states[layer], states, strict=True):
            kept[place, :, start:end] = new

    def attend(self, layer: int, states: torch.Tensor, query: torch.Tensor, scale: float | None) -> torch.Tensor:
        """Attention of each row's last token, whose keys and values states (2, rows, heads, head_dim) are written here.

        query and the result: (rows, heads of queries, head_dim).
        """
        rows, longest = len(self.rows), max(self.lengths) - self._num_shared
        kept = self._states[layer]
        kept[:, self._places, :, self._ends] = states.transpose(0, 1)
        keys, values = kept[:, :rows, :, :longest]
        grouped = query.view(rows, keys.shape[1], -1, query.shape[-1])  # the heads that share keys are one matrix
        if self.beginning is None:
            found = scaled_dot_product_attention(grouped, keys, values, attn_mask=self._mask, scale=scale)
        else:
            found = _cascade_attention(grouped, self.beginning.states[layer], (keys, values), self._mask, scale)
        return found.reshape(query.shape)

    def prepare(self, device: torch.device, dtype: torch.dtype) -> None:
        """Work out what all layers of a step share: where the last tokens go and what each row sees."""
        lengths = torch.tensor(self.lengths, device=device) - self._num_shared
        self._places = torch.arange(len(self.rows), device=device)
        self._ends = lengths - 1
        self._mask = None
        if min(self.lengths) < max(self.lengths):
            hidden = torch.arange(max(self.lengths) - self._num_shared, device=device) >= lengths[:, None]
            mask = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, -torch.inf)
            self._mask = mask[:, None, None]

    def view(self, layer: int, length: int, place: int) -> States:
        """Keys and values of a row's first tokens; length: how many, more than the beginning has."""
        keys, values = self._states[layer][:, place, :, : length - self._num_shared]
        if self.beginning is not None:
            before = self.beginning.states[layer]
            keys, values = torch.cat([before[0], keys], dim=1), torch.cat([before[1], values], dim=1)
        return keys, values

    def keep(self, wanted: set[int]) -> None:
        """Let the rows go whose id is not wanted: the last ones take their places."""
        for place in reversed(range(len(self.rows))):
            if id(self.rows[place]) in wanted:
                continue
            row, length = self.rows.pop(), self.lengths.pop()
            if place < len(self.rows):
                self.rows[place], self.lengths[place] = row, length
                for states in self._states:
                    states[:, place] = states[:, len(self.rows)]

    def _reserve(self, rows: int, slots: int, states: Series[Series[States]]) -> None:
        if not self._states:
            heads, _, head_dim = states[0][0][0].shape
            shape = (2, max(rows, MORE_ROWS), heads, slots + MORE_SLOTS, head_dim)
            self._states = [pieces[0][0].new_zeros(shape) for pieces in states]
            return
        has_rows, has_slots = self._states[0].shape[1], self._states[0].shape[3]
        more = (max(has_rows, rows - has_rows) if rows > has_rows else 0, slots - has_slots)
        if more[0] or more[1] > 0:
            slots_more = more[1] + MORE_SLOTS if more[1] > 0 else 0
            self._states = [_larger(one, more[0], slots_more) for one in self._states]


def _cascade_attention(
    query: torch.Tensor, shared: States, own: States, mask: torch.Tensor | None, scale: float | None
) -> torch.Tensor:
    """Attention to what all rows share, as one matrix of all rows, and to what each has; then both weighed.

    query and the result: (rows, heads, queries, head_dim). A softmax over both parts is the mean of those over each,
    weighed by the sums of their exponents, whose logarithms torch's kernel gives too.
    """
    rows, heads, queries, head_dim = query.shape
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    together = query.transpose(0, 1).reshape(1, heads, rows * queries, head_dim)
    one, of_one = attend(together, shared[0][None], shared[1][None], scale=scale)
    two, of_two = attend(query, *own, attn_mask=mask, scale=scale)
    one = one.view(heads, rows, queries, head_dim).transpose(0, 1)
    of_one = of_one.view(heads, rows, queries).transpose(0, 1)
    weight = torch.sigmoid(of_one - of_two)[..., None]
    return torch.lerp(two.float(), one.float(), weight).to(query.dtype)


def _larger(states: torch.Tensor, rows: int, slots: int) -> torch.Tensor:
    """States with room for more rows and more slots of each."""
    _, num_rows, heads, num_slots, head_dim = states.shape
    larger = states.new_zeros(2, num_rows + rows, heads, num_slots + slots, head_dim)
    larger[:, :num_rows, :, :num_slots] = states
    return larger
