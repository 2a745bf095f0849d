"""KV cache of rows of about equal length, so that one attention serves them all with little padding.

Rows join, grow and leave in place: a decode step copies nothing. The KV of a shared prefix is kept, and read from
memory, once for all rows. Knows no model and no scheduler.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention

from sqlinfer.engine.sequence import Sequence

MAX_SPREAD = 32  # tokens between the shortest and the longest row of a bucket, when a row joins
SPARE_SLOTS, SPARE_ROWS = 64, 8
KV = tuple[torch.Tensor, torch.Tensor]  # keys and values, (heads, tokens, head_dim)


@dataclass(frozen=True, slots=True, eq=False)
class SharedPrefix:
    """A prefix that all rows of some buckets share.

    tokens: its ids.
    kv: for each layer its keys and values.
    """

    tokens: tuple[int, ...]
    kv: Series[KV]


class LengthBucket:
    """Running rows with their KV cache.

    Slots beyond a row's length are masked, and hold finite numbers. The tokens of the shared prefix have no slots.

    rows: the sequences.
    lengths: tokens of each row in the cache, the shared prefix among them.
    shared_prefix: what all rows share; None if nothing.
    """

    def __init__(self, shared_prefix: SharedPrefix | None = None) -> None:
        self.rows: list[Sequence] = []
        self.lengths: list[int] = []
        self.shared_prefix = shared_prefix
        self._num_shared = len(shared_prefix.tokens) if shared_prefix else 0
        self._kv: list[torch.Tensor] = []  # for each layer (2, rows, heads, slots, head_dim)
        self._mask: torch.Tensor | None = None

    def fits(self, length: int, shared_prefix: SharedPrefix | None) -> bool:
        """Whether a row of so many tokens may join."""
        spread = max(*self.lengths, length) - min(*self.lengths, length)
        return spread <= MAX_SPREAD and shared_prefix is self.shared_prefix

    def add(self, row: Sequence, length: int) -> None:
        """Add a row whose KV write_rows writes next."""
        self.rows.append(row)
        self.lengths.append(length)

    def write_rows(self, kv_of_rows: Series[Series[Series[KV]]]) -> None:
        """Write the KV of the rows added last: of each row, for each layer, in consecutive pieces."""
        first = len(self.rows) - len(kv_of_rows)
        self._reserve(len(self.rows), max(self.lengths) - self._num_shared, kv_of_rows[0])
        for index, kv_of_layers in enumerate(kv_of_rows, first):
            for cached, pieces in zip(self._kv, kv_of_layers, strict=True):
                end = -self._num_shared
                for keys, values in pieces:
                    start, end = end, end + keys.shape[1]
                    if end > 0:
                        skip = max(0, -start)  # tokens of the shared prefix
                        cached[0, index, :, start + skip : end] = keys[:, skip:]
                        cached[1, index, :, start + skip : end] = values[:, skip:]
                cached[:, index, :, end:] = 0

    def grow(self, counts: Series[int]) -> None:
        """Reserve slots for so many more tokens of each row, before they are written."""
        self.lengths = [length + count for length, count in zip(self.lengths, counts, strict=True)]
        if max(self.lengths) - self._num_shared > self._kv[0].shape[3]:
            self._kv = [_enlarge(kv, 0, SPARE_SLOTS) for kv in self._kv]

    def write(self, layer: int, index: int, kv: KV) -> None:
        """Write the keys and values of a row's last tokens into its slots."""
        end = self.lengths[index] - self._num_shared
        start = end - kv[0].shape[1]
        for cached, new in zip(self._kv[layer], kv, strict=True):
            cached[index, :, start:end] = new

    def attend(self, layer: int, kv: torch.Tensor, query: torch.Tensor, scale: float | None) -> torch.Tensor:
        """Attention of each row's last token, whose kv (2, rows, heads, head_dim) is written here.

        query and the result: (rows, query heads, head_dim).
        """
        rows, longest = len(self.rows), max(self.lengths) - self._num_shared
        cached = self._kv[layer]
        cached[:, self._indices, :, self._last_slots] = kv.transpose(0, 1)
        keys, values = cached[:, :rows, :, :longest]
        grouped = query.view(rows, keys.shape[1], -1, query.shape[-1])  # (rows, heads, queries, head_dim)
        if self.shared_prefix is None:
            output = scaled_dot_product_attention(grouped, keys, values, attn_mask=self._mask, scale=scale)
        else:
            output = _cascade_attention(grouped, self.shared_prefix.kv[layer], (keys, values), self._mask, scale)
        return output.reshape(query.shape)

    def prepare(self, device: torch.device, dtype: torch.dtype) -> None:
        """Compute what all layers of a decode step share: the slots to write and the attention mask."""
        lengths = torch.tensor(self.lengths, device=device) - self._num_shared
        self._indices = torch.arange(len(self.rows), device=device)
        self._last_slots = lengths - 1
        self._mask = None
        if min(self.lengths) < max(self.lengths):
            hidden = torch.arange(max(self.lengths) - self._num_shared, device=device) >= lengths[:, None]
            mask = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, -torch.inf)
            self._mask = mask[:, None, None]

    def view(self, layer: int, length: int, index: int) -> KV:
        """Keys and values of a row's first length tokens, more than the shared prefix has."""
        keys, values = self._kv[layer][:, index, :, : length - self._num_shared]
        if self.shared_prefix is not None:
            shared_keys, shared_values = self.shared_prefix.kv[layer]
            keys, values = torch.cat([shared_keys, keys], dim=1), torch.cat([shared_values, values], dim=1)
        return keys, values

    def retain(self, row_ids: set[int]) -> None:
        """Drop the rows whose id() is not among row_ids; the last rows take their slots."""
        for index in reversed(range(len(self.rows))):
            if id(self.rows[index]) in row_ids:
                continue
            row, length = self.rows.pop(), self.lengths.pop()
            if index < len(self.rows):
                self.rows[index], self.lengths[index] = row, length
                for kv in self._kv:
                    kv[:, index] = kv[:, len(self.rows)]

    def _reserve(self, rows: int, slots: int, kv_of_layers: Series[Series[KV]]) -> None:
        if not self._kv:
            heads, _, head_dim = kv_of_layers[0][0][0].shape
            shape = (2, max(rows, SPARE_ROWS), heads, slots + SPARE_SLOTS, head_dim)
            self._kv = [pieces[0][0].new_zeros(shape) for pieces in kv_of_layers]
            return
        num_rows, num_slots = self._kv[0].shape[1], self._kv[0].shape[3]
        more_rows = max(num_rows, rows - num_rows) if rows > num_rows else 0
        more_slots = slots - num_slots + SPARE_SLOTS if slots > num_slots else 0
        if more_rows or more_slots:
            self._kv = [_enlarge(kv, more_rows, more_slots) for kv in self._kv]


def _cascade_attention(
    query: torch.Tensor, shared: KV, suffix: KV, mask: torch.Tensor | None, scale: float | None
) -> torch.Tensor:
    """Attention to a shared prefix, with the queries of all rows as one matrix, and to each row's suffix; then merged.

    Cascade attention as in FlashInfer (Ye et al. 2025, arXiv 2501.01005) and vLLM.
    query and the result: (rows, heads, queries, head_dim).
    """
    rows, heads, queries, head_dim = query.shape
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    folded = query.transpose(0, 1).reshape(1, heads, rows * queries, head_dim)
    prefix_output, prefix_lse = attend(folded, shared[0][None], shared[1][None], scale=scale)
    suffix_output, suffix_lse = attend(query, *suffix, attn_mask=mask, scale=scale)
    prefix_output = prefix_output.view(heads, rows, queries, head_dim).transpose(0, 1)
    prefix_lse = prefix_lse.view(heads, rows, queries).transpose(0, 1)
    return _merge_attn_states(prefix_output, prefix_lse, suffix_output, suffix_lse).to(query.dtype)


def _merge_attn_states(
    prefix_output: torch.Tensor, prefix_lse: torch.Tensor, suffix_output: torch.Tensor, suffix_lse: torch.Tensor
) -> torch.Tensor:
    """The softmax over both parts, in float32: the mean of the outputs, weighted by the sums of exponentials.

    lse: the logarithms of these sums. See vLLM's merge_attn_states.
    """
    weight = torch.sigmoid(prefix_lse - suffix_lse)[..., None]
    return torch.lerp(suffix_output.float(), prefix_output.float(), weight)


def _enlarge(kv: torch.Tensor, rows: int, slots: int) -> torch.Tensor:
    """A copy with so many more rows and slots."""
    _, num_rows, heads, num_slots, head_dim = kv.shape
    enlarged = kv.new_zeros(2, num_rows + rows, heads, num_slots + slots, head_dim)
    enlarged[:, :num_rows, :, :num_slots] = kv
    return enlarged
