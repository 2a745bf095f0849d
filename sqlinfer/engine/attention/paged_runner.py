"""A decoder-only model with a paged cache, which its batches share: passes over feeds, and steps of one token a line.

Steps have buffers that stay where they are and one of a few sizes, so that a GPU can replay them. Knows no sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Series
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from sqlinfer.engine.attention.packed_decoder import forward
from sqlinfer.engine.attention.query_spans import QuerySpans, Rows
from sqlinfer.engine.cache.page_pool import Line, PageCache, Slots

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, QuerySpans, float | None], torch.Tensor]
SHARE_OF_A_BATCH = 0.8
MOST_DOUBLED = 32  # lines of a step; up to here its sizes are powers of two, and from here on multiples of this


class PagedForwardContext:
    """What the model's attention layers are handed: where keys and values go, and what each token sees."""

    def __init__(
        self, cache: PageCache, attend: Attend, *, table: torch.Tensor, slots: torch.Tensor, feeds: QuerySpans
    ) -> None:
        self._cache = cache
        self._attend = attend
        self._table = table
        self._slots = slots
        self._feeds = feeds

    def attend(
        self, layer: int, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float | None
    ) -> torch.Tensor:
        """(1, tokens, heads, head_dim) from query, keys and values of (1, heads, tokens, head_dim)."""
        kept = self._cache.write(layer, self._slots, keys[0].transpose(0, 1), values[0].transpose(0, 1))
        return self._attend(query[0].transpose(0, 1), *kept, self._table, self._feeds, scale)[None]


class PagedModel:
    """Runs a model over its cache. attend: the attention kernel. can_replay: whether steps are captured in graphs."""

    def __init__(self, model: Any, cache: PageCache, attend: Attend, *, can_replay: bool) -> None:
        self.model = model
        self.cache = cache
        self.can_replay = can_replay
        self._attend = attend
        self._fed = torch.zeros(3, _size(cache.num_lines), dtype=torch.long, device=model.device)
        self._table = cache.table
        self._graphs: dict[int, tuple[Any, torch.Tensor]] = {}
        self._memory: Any = None
        self._budgets: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def reserve(self, batch: Any) -> int:
        """Slots that a batch may fill: most of what no other one may, so that a later batch has some too."""
        self._budgets[batch] = int((self.cache.num_slots - sum(self._budgets.values())) * SHARE_OF_A_BATCH)
        return self._budgets[batch]

    @property
    def is_used(self) -> bool:
        """Whether a batch has the cache."""
        return bool(self._budgets)

    def read(
        self, feeds: Rows, slots: Slots, ids: list[int], wanted: list[int], table: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits (wanted, vocab) after some of the ids of a pass. slots: of each id.

        table: where the lines of feeds are; None for the cache's own.
        """
        device = self.model.device
        places = np.concatenate([np.arange(place, place + count) for _, count, _, place in feeds])
        done = PagedForwardContext(
            self.cache,
            self._attend,
            table=self.cache.table if table is None else table,
            slots=torch.from_numpy(slots.astype(np.int64)).to(device),
            feeds=QuerySpans(feeds, device),
        )
        ids_of, places_of, wanted_of = (torch.tensor(part, device=device) for part in (ids, places, wanted))
        return forward(self.model, done, ids_of, places_of, wanted_of)

    def step(self, tokens: list[int], lines: Series[Line]) -> torch.Tensor:
        """Logits (lines, vocab) after one token more of each line, which has room for it; valid until the next step."""
        size = _size(len(lines))
        fed = np.zeros((3, size), np.int64)  # what fills up is read on line 0, at place 0
        fed[:, : len(lines)] = tokens, [line.number for line in lines], [line.length - 1 for line in lines]
        self._fed[:, :size] = torch.from_numpy(fed).to(self._fed.device)
        return self._replay(size)[: len(lines)] if self.can_replay else self._run(size)[: len(lines)]

    def _run(self, size: int) -> torch.Tensor:
        tokens, lines, places = self._fed[:, :size]
        slots = self.cache.table[lines, places].long()
        feeds = QuerySpans.single(lines, places)
        done = PagedForwardContext(self.cache, self._attend, table=self.cache.table, slots=slots, feeds=feeds)
        return forward(self.model, done, tokens, places, 0)

    def _replay(self, size: int) -> torch.Tensor:
        """The same by a graph, captured when a size is needed for the first time, or the table is a new one."""
        if self._table is not self.cache.table:
            self._table = self.cache.table
            self._graphs.clear()
        if size not in self._graphs:
            with torch.cuda.device(self.model.device):
                self._run(size)  # what a first pass sets up is not to be captured
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=self._memory, capture_error_mode="thread_local"):
                    logits = self._run(size)
            self._memory = graph.pool()
            self._graphs[size] = graph, logits
        graph, logits = self._graphs[size]
        graph.replay()
        return logits


def _size(num_lines: int) -> int:
    """Lines of a step that has room for so many.

    >>> _size(1), _size(3), _size(33), _size(256)
    (1, 4, 64, 256)
    """
    if num_lines <= MOST_DOUBLED:
        return 1 << (num_lines - 1).bit_length()
    return -(-num_lines // MOST_DOUBLED) * MOST_DOUBLED
