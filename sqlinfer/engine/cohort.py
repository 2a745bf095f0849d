"""Keys and values of rows of about equal length, so that one attention serves them all with little padding.

Rows come, grow and leave in place: a step copies nothing. Knows no model and no scheduler.
"""

from __future__ import annotations

from collections.abc import Sequence as Series

import torch

from sqlinfer.engine.sequence import Sequence

SPREAD = 32  # tokens; when a row joins, the lengths in a cohort differ by no more
MORE_SLOTS, MORE_ROWS = 64, 8
States = tuple[torch.Tensor, torch.Tensor]  # keys and values, (heads, tokens, head_dim)


class Cohort:
    """Sequences with their cache: for each layer keys and values of (rows, heads, slots, head_dim).

    Slots beyond a row's length are masked, and hold finite numbers.
    """

    def __init__(self) -> None:
        self.rows: list[Sequence] = []
        self.lengths: list[int] = []
        self._states: list[torch.Tensor] = []  # for each layer (2, rows, heads, slots, head_dim)
        self._mask: torch.Tensor | None = None

    def takes(self, length: int) -> bool:
        """Whether a row of so many tokens fits the others."""
        return max(*self.lengths, length) - min(*self.lengths, length) <= SPREAD

    def add(self, row: Sequence, length: int, states: Series[Series[States]]) -> None:
        """Take a row in. states: for each layer its keys and values, in pieces."""
        place = len(self.rows)
        self._reserve(place + 1, length, states)
        for kept, pieces in zip(self._states, states, strict=True):
            start = 0
            for keys, values in pieces:
                end = start + keys.shape[1]
                kept[0, place, :, start:end], kept[1, place, :, start:end] = keys, values
                start = end
            kept[:, place, :, length:] = 0
        self.rows.append(row)
        self.lengths.append(length)

    def grow(self, counts: Series[int]) -> None:
        """Make room for so many more tokens of each row, before they are written."""
        self.lengths = [length + count for length, count in zip(self.lengths, counts, strict=True)]
        if max(self.lengths) > self._states[0].shape[3]:
            self._states = [_larger(states, 0, MORE_SLOTS) for states in self._states]

    def write(self, layer: int, place: int, states: States) -> None:
        """Put the keys and values of a row's last tokens into its slots."""
        end = self.lengths[place]
        start = end - states[0].shape[1]
        for kept, new in zip(self._states[layer], states, strict=True):
            kept[place, :, start:end] = new

    def attend(self, layer: int, states: torch.Tensor, query: torch.Tensor, scale: float | None) -> torch.Tensor:
        """Attention of each row's last token, whose keys and values states (2, rows, heads, head_dim) are written here.

        query and the result: (rows, heads of queries, head_dim).
        """
        rows, longest = len(self.rows), max(self.lengths)
        kept = self._states[layer]
        kept[:, self._places, :, self._ends] = states.transpose(0, 1)
        keys, values = kept[:, :rows, :, :longest]
        grouped = query.view(rows, keys.shape[1], -1, query.shape[-1])  # the heads that share keys are one matrix
        found = torch.nn.functional.scaled_dot_product_attention(
            grouped, keys, values, attn_mask=self._mask, scale=scale
        )
        return found.reshape(query.shape)

    def prepare(self, device: torch.device, dtype: torch.dtype) -> None:
        """Work out what all layers of a step share: where the last tokens go and what each row sees."""
        lengths = torch.tensor(self.lengths, device=device)
        self._places = torch.arange(len(self.rows), device=device)
        self._ends = lengths - 1
        self._mask = None
        if min(self.lengths) < max(self.lengths):
            hidden = torch.arange(max(self.lengths), device=device) >= lengths[:, None]
            mask = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, -torch.inf)
            self._mask = mask[:, None, None]

    def view(self, layer: int, length: int, place: int) -> States:
        """Keys and values of a row's first tokens."""
        keys, values = self._states[layer][:, place, :, :length]
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
        more = (self._states[0].shape[1] if rows > self._states[0].shape[1] else 0, slots - self._states[0].shape[3])
        if more[0] or more[1] > 0:
            slots_more = more[1] + MORE_SLOTS if more[1] > 0 else 0
            self._states = [_larger(one, more[0], slots_more) for one in self._states]


def _larger(states: torch.Tensor, rows: int, slots: int) -> torch.Tensor:
    """States with room for more rows and more slots of each."""
    _, num_rows, heads, num_slots, head_dim = states.shape
    larger = states.new_zeros(2, num_rows + rows, heads, num_slots + slots, head_dim)
    larger[:, :num_rows, :, :num_slots] = states
    return larger
