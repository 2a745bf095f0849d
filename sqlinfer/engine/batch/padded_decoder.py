"""The running batch of a decoder-only model: prefill, decode, rows that join and leave.

Rows are padded on the left. Knows no sampling: it turns token ids into logits.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from sqlinfer.engine.cache import padded_cache as kv
from sqlinfer.engine.sequence import Sequence, feed_width

LEAST_SHARED = 16  # tokens; a pass over fewer costs more than it saves


class DecoderBatch:
    """Sequences in flight with their cache."""

    is_packed = False

    def __init__(self, model: Any) -> None:
        self.model = model
        self.rows: list[Sequence] = []
        self.can_merge = kv.new_cache(model.config)[1]
        accepted = inspect.signature(model.forward).parameters
        self._can_keep_logits = "logits_to_keep" in accepted
        self._can_share = self.can_merge and not kv.has_windows(model.config)
        self._takes_positions = "position_ids" in accepted
        self._is_mamba = "cache_params" in accepted  # other name of the cache, and no mask once the prompt is read
        self.clear()

    def clear(self) -> None:
        """Drop all rows and their memory."""
        self.rows = []
        self._cache: Any = None
        self._mask: Any = None  # (rows, slots)

    @torch.inference_mode()
    def join(self, rows: list[Sequence]) -> torch.Tensor:
        """Prefill new rows and add them to the batch. Returns their logits (rows, vocab)."""
        logits, cache, mask = self._prefill([row.history for row in rows])
        for row in rows:
            row.num_uncomputed_tokens = 0
        running, self.rows = self.rows, []  # a merge that breaks off leaves no row behind
        if self._cache is None:
            self._cache, self._mask = cache, mask
        else:
            kv.merge(self._cache, cache, left=True)
            self._mask = kv.merge_masks(self._mask, mask, left=True)
        self.rows = running + rows
        return logits

    def _prefill(self, texts: list[list[int]]) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """Read token ids of texts: logits (texts, vocab), cache and mask. What all begin with is read once."""
        cache, _ = kv.new_cache(self.model.config)
        shared = self._shared(texts)
        if shared:
            ids, mask = kv.padded([texts[0][:shared]], self.model.device, left=True)
            self._forward(ids, mask, kv.positions(mask), cache)
            cache = kv.select(cache, torch.zeros(len(texts), dtype=torch.long, device=self.model.device))
        ids, mask = kv.padded([text[shared:] for text in texts], self.model.device, left=True)
        mask = torch.cat([mask.new_ones(len(texts), shared), mask], dim=1)
        logits = self._forward(ids, mask, kv.positions(mask)[:, shared:], cache)[:, 0]
        if shared:
            mask = kv.pack(cache, mask)
        return logits, cache, mask

    def _shared(self, texts: list[list[int]]) -> int:
        """How many tokens all texts begin with, if that is worth a pass of its own; each keeps its last token."""
        first, last = min(texts), max(texts)  # texts between the two begin with what both begin with
        end = min(map(len, texts)) - 1
        same = next((i for i in range(end) if first[i] != last[i]), end)
        return same if self._can_share and len(texts) > 1 and same >= LEAST_SHARED else 0

    @torch.inference_mode()
    def step(self) -> torch.Tensor:
        """Feed each row what it has not read yet, or part of it. Returns the logits (rows, vocab) of the next token."""
        width = feed_width(self.rows, padded=self._can_share) if self.can_merge else 1
        feeds = [feed for row in self.rows for feed in row.feeds(width)]
        ids, fed = kv.padded(feeds, self.model.device, left=True)
        mask = torch.cat([self._mask, fed], dim=1)
        logits = self._forward(ids, mask, kv.positions(mask)[:, -width:], self._cache)[:, 0]
        has_gaps = any(len(feed) < width for feed in feeds)
        self._mask = kv.pack(self._cache, mask) if has_gaps else mask
        return logits

    @torch.inference_mode()
    def read(self, lines: list[int], feeds: list[list[int]]) -> torch.Tensor:
        """Logits (feeds, longest feed, vocab) after each token of feeds that continue lines; the batch stays.

        A cache whose rows cannot be repeated is left alone, and the whole history of each line is read again.
        """
        longest = max(map(len, feeds))
        if self.can_merge:
            index = torch.tensor(lines, device=self.model.device)
            ids, mask = kv.padded(feeds, self.model.device, left=False)
            mask = torch.cat([self._mask[index], mask], dim=1)
            return self._forward(ids, mask, kv.positions(mask)[:, -longest:], kv.select(self._cache, index), longest)
        texts = [self.rows[line].history + feed for line, feed in zip(lines, feeds, strict=True)]
        ids, mask = kv.padded(texts, self.model.device, left=True)
        logits = self._forward(ids, mask, kv.positions(mask), kv.new_cache(self.model.config)[0], longest)
        ends = [one.roll(len(feed) - longest, dims=0) for one, feed in zip(logits, feeds, strict=True)]
        return torch.stack(ends)

    @torch.inference_mode()
    def keep(self, rows: list[Sequence], lines: list[int]) -> None:
        """Go on with these rows only; lines are their indices in the batch."""
        if not rows:
            return self.clear()
        if lines != list(range(len(self.rows))):
            index = torch.tensor(lines, device=self.model.device)
            if self.can_merge:
                kv.reorder_rows(self._cache, index)
            else:
                self._cache.reorder_cache(index)
            self._mask = self._mask.index_select(0, index)
        self.rows = rows
        if self.can_merge:
            unused = self._mask.shape[1] - max(row.num_computed_tokens for row in rows)
            kv.trim(self._cache, unused, left=True)
            self._mask = self._mask[:, unused:]
        return None

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any, num_logits: int = 1
    ) -> torch.Tensor:
        """Logits (lines, num_logits, vocab) after the last tokens."""
        more = {"cache_params" if self._is_mamba else "past_key_values": cache}
        if self._can_keep_logits:
            more["logits_to_keep"] = num_logits
        if self._takes_positions:
            more["position_ids"] = positions
        if mask.shape == ids.shape or not self._is_mamba:
            more["attention_mask"] = mask
        output = self.model(input_ids=ids, use_cache=True, **more)
        logits: torch.Tensor = output.logits[:, -num_logits:]
        return logits
