"""Keys and values with room for more, so that tokens and rows join them without a copy of what is there.

States are (rows, heads, slots, head_dim). The memory behind them, which append or add_rows made, may hold more rows and
more slots; nobody else holds what lies there. Knows no sequences.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

MORE_SLOTS, MORE_ROWS, MORE_BYTES = 32, 128, 64 << 20


class GrowableLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    """A layer of transformers' cache that grows in place."""

    keys: torch.Tensor
    values: torch.Tensor

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *args: Any,  # noqa: ARG002 - of other caches
        **kwargs: Any,  # noqa: ARG002
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append states of new tokens. Returns all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self.values = append(self.keys, key_states), append(self.values, value_states)
        return self.keys, self.values


def append(states: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """States with the slots of new after their own; written in place where there is room."""
    if not states.numel():
        return _copied(new, 0, 0, room=(0, MORE_SLOTS))
    fitting = _grown(states, 0, new.shape[2])
    grown = _copied(states, 0, new.shape[2], room=(0, MORE_SLOTS)) if fitting is None else fitting
    grown[:, :, -new.shape[2] :] = new
    return grown


def add_rows(states: torch.Tensor, new: torch.Tensor, *, left: bool) -> torch.Tensor:
    """States with the rows of new after their own; the shorter ones get zeros, on the left or on the right."""
    rows, slots = len(new), new.shape[2]
    missing = slots - states.shape[2]
    if missing > 0:
        grown = _copied(states, rows, missing, room=(_more_rows(states), MORE_SLOTS))
        if left:
            grown[:-rows, :, missing:] = states
            grown[:-rows, :, :missing] = 0
        else:
            grown[:-rows, :, -missing:] = 0
        grown[-rows:] = new
        return grown
    fitting = _grown(states, rows, 0)
    grown = _copied(states, rows, 0, room=(_more_rows(states), MORE_SLOTS)) if fitting is None else fitting
    own, rest = (slice(-slots, None), slice(0, -missing)) if left else (slice(0, slots), slice(slots, None))
    grown[-rows:, :, own] = new
    grown[-rows:, :, rest] = 0
    return grown


def reorder(states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The rows at index, repeated or left out at will and no more than there are; written in place."""
    kept = states[: len(index)]
    kept.copy_(states.index_select(0, index))
    return kept


def _more_rows(states: torch.Tensor) -> int:
    """Room for rows to come; a machine's memory, other than a device's, is only taken once it is written to."""
    if states.device.type != "cpu":
        return max(1, len(states) // 4)
    return max(len(states), min(MORE_ROWS, MORE_BYTES // states[0].nbytes))


def _grown(states: torch.Tensor, rows: int, slots: int) -> torch.Tensor | None:
    """The same states with more rows and slots behind them, whatever they hold; None where there is no room."""
    num_rows, heads, num_slots, head_dim = states.shape
    row, head, slot, number = states.stride()
    if (slot, number) != (head_dim, 1) or head % slot or row != heads * head:
        return None
    first_row, offset = divmod(int(states.storage_offset()), row)
    end = offset % head // slot + num_slots
    all_rows = states.untyped_storage().nbytes() // states.itemsize // row
    if end + slots > head // slot or first_row + num_rows + rows > all_rows:
        return None
    return states.as_strided((num_rows + rows, heads, num_slots + slots, head_dim), states.stride())


def _copied(states: torch.Tensor, rows: int, slots: int, *, room: tuple[int, int]) -> torch.Tensor:
    """States copied to where more rows and slots are behind them, and room for more yet."""
    num_rows, heads, num_slots, head_dim = states.shape
    memory = states.new_empty(num_rows + rows + room[0], heads, num_slots + slots + room[1], head_dim)
    copied = memory[: num_rows + rows, :, : num_slots + slots]
    copied[:num_rows, :, :num_slots] = states
    return copied
