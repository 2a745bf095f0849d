"""A decoder-only model with the paged KV cache that its batches share: forward passes over query spans, and decode
steps of one token a row.

Decode steps run as CUDA graphs: with static input buffers, at one of a few batch sizes. Knows no sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Series
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from sqlinfer.engine.attention.packed_decoder import forward
from sqlinfer.engine.attention.query_spans import QuerySpans, SpanTable
from sqlinfer.engine.cache.page_pool import BlockTableRow, PageCache, SlotMapping

PagedAttention = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, QuerySpans, float | None], torch.Tensor
]
BATCH_SHARE = 0.8  # of the free slots, for one batch
GRAPH_STEP = 32  # rows; captured batch sizes are powers of two up to here, and multiples of it beyond


class PagedForwardContext:
    """What the attention layers get beside the hidden states: where KV is written, and what each token attends to."""

    def __init__(
        self,
        cache: PageCache,
        attention: PagedAttention,
        *,
        block_table: torch.Tensor,
        slot_mapping: torch.Tensor,
        spans: QuerySpans,
    ) -> None:
        self._cache = cache
        self._attention = attention
        self._block_table = block_table
        self._slot_mapping = slot_mapping
        self._spans = spans

    def attend(
        self, layer: int, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float | None
    ) -> torch.Tensor:
        """(1, tokens, heads, head_dim) from query, keys and values of (1, heads, tokens, head_dim)."""
        kv = self._cache.write(layer, self._slot_mapping, keys[0].transpose(0, 1), values[0].transpose(0, 1))
        return self._attention(query[0].transpose(0, 1), *kv, self._block_table, self._spans, scale)[None]


class PagedModel:
    """Runs a model over its paged cache.

    model: the transformers model.
    cache: its KV cache.
    uses_cuda_graphs: whether decode steps are captured and replayed.
    """

    def __init__(self, model: Any, cache: PageCache, attention: PagedAttention, *, uses_cuda_graphs: bool) -> None:
        self.model = model
        self.cache = cache
        self.uses_cuda_graphs = uses_cuda_graphs
        self._attention = attention
        # token ids, block table rows and positions of a decode step
        self._inputs = torch.zeros(3, _graph_size(cache.max_rows), dtype=torch.long, device=model.device)
        self._captured_table = cache.block_table
        self._graphs: dict[int, tuple[Any, torch.Tensor]] = {}  # graph and logits, by batch size
        self._graph_memory: Any = None
        self._budgets: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def reserve(self, batch: Any) -> int:
        """Slots that a batch may fill: most of those not reserved by others, so that a later batch gets some too."""
        self._budgets[batch] = int((self.cache.num_slots - sum(self._budgets.values())) * BATCH_SHARE)
        return self._budgets[batch]

    @property
    def is_used(self) -> bool:
        """Whether a batch has the cache."""
        return bool(self._budgets)

    def forward(
        self,
        spans: SpanTable,
        slot_mapping: SlotMapping,
        ids: list[int],
        logit_indices: list[int],
        block_table: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits (logit_indices, vocab) after these of the token ids.

        slot_mapping: of each id. block_table: that the rows of spans are in; None for the cache's.
        """
        device = self.model.device
        positions = np.concatenate([np.arange(position, position + count) for _, count, _, position in spans])
        context = PagedForwardContext(
            self.cache,
            self._attention,
            block_table=self.cache.block_table if block_table is None else block_table,
            slot_mapping=torch.from_numpy(slot_mapping.astype(np.int64)).to(device),
            spans=QuerySpans(spans, device),
        )
        inputs = (torch.tensor(part, device=device) for part in (ids, positions, logit_indices))
        return forward(self.model, context, *inputs)

    def decode(self, ids: list[int], rows: Series[BlockTableRow]) -> torch.Tensor:
        """Logits (rows, vocab) after one more token of each row, which has a slot for it; valid until the next step."""
        size = _graph_size(len(rows))
        inputs = np.zeros((3, size), np.int64)  # padding is row 0, position 0
        inputs[:, : len(rows)] = ids, [row.index for row in rows], [row.length - 1 for row in rows]
        self._inputs[:, :size] = torch.from_numpy(inputs).to(self._inputs.device)
        logits = self._replay_graph(size) if self.uses_cuda_graphs else self._decode_eagerly(size)
        return logits[: len(rows)]

    def _decode_eagerly(self, size: int) -> torch.Tensor:
        ids, rows, positions = self._inputs[:, :size]
        context = PagedForwardContext(
            self.cache,
            self._attention,
            block_table=self.cache.block_table,
            slot_mapping=self.cache.block_table[rows, positions].long(),
            spans=QuerySpans.single(rows, positions),
        )
        return forward(self.model, context, ids, positions, 0)

    def _replay_graph(self, size: int) -> torch.Tensor:
        """Replay the graph of a batch size, captured when it is first needed; a new block table drops all graphs."""
        if self._captured_table is not self.cache.block_table:
            self._captured_table = self.cache.block_table
            self._graphs.clear()
        if size not in self._graphs:
            with torch.cuda.device(self.model.device):
                self._decode_eagerly(size)  # warm-up: what a first pass sets up must not be captured
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=self._graph_memory, capture_error_mode="thread_local"):
                    logits = self._decode_eagerly(size)
            self._graph_memory = graph.pool()
            self._graphs[size] = graph, logits
        graph, logits = self._graphs[size]
        graph.replay()
        return logits


def _graph_size(num_rows: int) -> int:
    """The smallest captured batch size that holds so many rows.

    >>> _graph_size(1), _graph_size(3), _graph_size(33), _graph_size(256)
    (1, 4, 64, 256)
    """
    if num_rows <= GRAPH_STEP:
        return 1 << (num_rows - 1).bit_length()
    return -(-num_rows // GRAPH_STEP) * GRAPH_STEP
