"""Over-allocated KV tensors: tokens and rows are appended in place until the capacity is used up.

Tensors are (rows, heads, slots, head_dim), views of an allocation with spare rows and spare slots, which append and
add_rows make; nobody else holds that memory. Knows no sequences.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

SPARE_SLOTS, SPARE_ROWS, SPARE_BYTES = 32, 128, 64 << 20


class GrowableLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    """A layer of transformers' KV cache that grows in place.

    keys, values: (rows, heads, slots, head_dim).
    """

    keys: torch.Tensor
    values: torch.Tensor

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *args: Any,  # noqa: ARG002 - of other caches
        **kwargs: Any,  # noqa: ARG002
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the keys and values of new tokens. Returns all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self.values = append(self.keys, key_states), append(self.values, value_states)
        return self.keys, self.values


def append(tensor: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Append slots, in place where capacity allows it."""
    if not tensor.numel():
        return _reallocate(new, 0, 0, spare_rows=0)
    grown = _extend_view(tensor, 0, new.shape[2])
    if grown is None:
        grown = _reallocate(tensor, 0, new.shape[2], spare_rows=0)
    grown[:, :, -new.shape[2] :] = new
    return grown


def add_rows(tensor: torch.Tensor, new: torch.Tensor, *, left: bool) -> torch.Tensor:
    """Append rows, in place where capacity allows it; the shorter ones are padded with zeros, on the left or right."""
    rows, slots = len(new), new.shape[2]
    missing = slots - tensor.shape[2]
    if missing > 0:
        grown = _reallocate(tensor, rows, missing, spare_rows=_spare_rows(tensor))
        if left:
            grown[:-rows, :, missing:] = tensor
            grown[:-rows, :, :missing] = 0
        else:
            grown[:-rows, :, -missing:] = 0
        grown[-rows:] = new
        return grown
    extended = _extend_view(tensor, rows, 0)
    grown = _reallocate(tensor, rows, 0, spare_rows=_spare_rows(tensor)) if extended is None else extended
    filled, padding = (slice(-slots, None), slice(0, -missing)) if left else (slice(0, slots), slice(slots, None))
    grown[-rows:, :, filled] = new
    grown[-rows:, :, padding] = 0
    return grown


def reorder(tensor: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The rows at index, repeated or dropped at will and no more than there are; written in place."""
    reordered = tensor[: len(index)]
    reordered.copy_(tensor.index_select(0, index))
    return reordered


def _spare_rows(tensor: torch.Tensor) -> int:
    """Rows to over-allocate; on the CPU many, as the system takes memory only once it is written to."""
    if tensor.device.type != "cpu":
        return max(1, len(tensor) // 4)
    return max(len(tensor), min(SPARE_ROWS, SPARE_BYTES // tensor[0].nbytes))


def _extend_view(tensor: torch.Tensor, rows: int, slots: int) -> torch.Tensor | None:
    """The same memory with so many more rows and slots, uninitialised; None beyond the capacity."""
    num_rows, heads, num_slots, head_dim = tensor.shape
    row, head, slot, number = tensor.stride()
    if (slot, number) != (head_dim, 1) or head % slot or row != heads * head:
        return None
    first_row, offset = divmod(int(tensor.storage_offset()), row)
    end = offset % head // slot + num_slots
    row_capacity = tensor.untyped_storage().nbytes() // tensor.itemsize // row
    if end + slots > head // slot or first_row + num_rows + rows > row_capacity:
        return None
    return tensor.as_strided((num_rows + rows, heads, num_slots + slots, head_dim), tensor.stride())


def _reallocate(tensor: torch.Tensor, rows: int, slots: int, *, spare_rows: int) -> torch.Tensor:
    """A copy with so many more rows and slots, uninitialised, and spare capacity."""
    num_rows, heads, num_slots, head_dim = tensor.shape
    shape = (num_rows + rows + spare_rows, heads, num_slots + slots + SPARE_SLOTS, head_dim)
    copied = tensor.new_empty(shape)[: num_rows + rows, :, : num_slots + slots]
    copied[:num_rows, :, :num_slots] = tensor
    return copied
