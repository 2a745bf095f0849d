"""The running batch of a decoder-only model whose tokens cannot be packed: rows are padded on the left.

Knows no sampling: it turns token ids into logits.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from sqlinfer.engine.cache import padded_cache as kv
from sqlinfer.engine.sequence import Sequence, decode_width

MIN_SHARED = 16  # tokens of a shared prefix; a pass over fewer costs more than it saves


class PaddedDecoderBatch:
    """Sequences in flight with their padded KV cache."""

    is_packed = False

    def __init__(self, model: Any) -> None:
        self.model = model
        self.rows: list[Sequence] = []
        self.can_merge = kv.new_cache(model.config)[1]
        accepted = inspect.signature(model.forward).parameters
        self._can_keep_logits = "logits_to_keep" in accepted
        self._can_share = self.can_merge and not kv.has_sliding_window(model.config)
        self._takes_positions = "position_ids" in accepted
        self._is_mamba = "cache_params" in accepted  # other name of the cache, and no mask once the prompt is read
        self.clear()

    def clear(self) -> None:
        """Drop all rows and their memory."""
        self.rows = []
        self._cache: Any = None
        self._mask: Any = None  # (rows, cached tokens)

    @torch.inference_mode()
    def prefill(self, rows: list[Sequence]) -> torch.Tensor:
        """Add rows and run their prompts. Returns their logits (rows, vocab)."""
        logits, cache, mask = self._run_prompts(rows)
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

    def _run_prompts(self, rows: list[Sequence]) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """Logits (rows, vocab), cache and mask of the token ids of rows. A prefix that all share is run once."""
        texts = [row.token_ids for row in rows]
        cache, _ = kv.new_cache(self.model.config)
        shared = self._shared_length(texts)
        if shared:
            ids, mask = kv.pad_rows([texts[0][:shared]], self.model.device, left=True)
            self._forward(ids, mask, kv.positions(mask), cache)
            cache = kv.select(cache, torch.zeros(len(texts), dtype=torch.long, device=self.model.device))
        ids, mask = kv.pad_rows([text[shared:] for text in texts], self.model.device, left=True)
        mask = torch.cat([mask.new_ones(len(texts), shared), mask], dim=1)
        logits = self._forward(ids, mask, kv.positions(mask)[:, shared:], cache)[:, 0]
        if shared:
            mask = kv.left_align(cache, mask)
        return logits, cache, mask

    def _shared_length(self, texts: list[list[int]]) -> int:
        """Tokens of the prefix that all texts share, 0 if it is not worth a pass; each keeps its last token."""
        first, last = min(texts), max(texts)  # texts between the two share the prefix that these two share
        end = min(map(len, texts)) - 1
        length = next((i for i in range(end) if first[i] != last[i]), end)
        return length if self._can_share and len(texts) > 1 and length >= MIN_SHARED else 0

    @torch.inference_mode()
    def decode(self) -> torch.Tensor:
        """Run each row's uncomputed tokens, or some. Returns the logits (rows, vocab) of the next token."""
        width = decode_width(self.rows, padded=self._can_share) if self.can_merge else 1
        input_ids = [ids for row in self.rows for ids in row.take_input_ids(width)]
        ids, new_mask = kv.pad_rows(input_ids, self.model.device, left=True)
        mask = torch.cat([self._mask, new_mask], dim=1)
        logits = self._forward(ids, mask, kv.positions(mask)[:, -width:], self._cache)[:, 0]
        has_gaps = any(len(row_ids) < width for row_ids in input_ids)
        self._mask = kv.left_align(self._cache, mask) if has_gaps else mask
        return logits

    @torch.inference_mode()
    def score_suffixes(self, slots: list[int], suffixes: list[list[int]]) -> torch.Tensor:
        """Logits (suffixes, longest suffix, vocab) after each token of suffixes that continue slots; the batch stays.

        A cache whose rows cannot be repeated is left alone, and all tokens of each slot are computed again.
        """
        longest = max(map(len, suffixes))
        if self.can_merge:
            index = torch.tensor(slots, device=self.model.device)
            ids, mask = kv.pad_rows(suffixes, self.model.device, left=False)
            mask = torch.cat([self._mask[index], mask], dim=1)
            return self._forward(ids, mask, kv.positions(mask)[:, -longest:], kv.select(self._cache, index), longest)
        texts = [self.rows[slot].token_ids + suffix for slot, suffix in zip(slots, suffixes, strict=True)]
        ids, mask = kv.pad_rows(texts, self.model.device, left=True)
        logits = self._forward(ids, mask, kv.positions(mask), kv.new_cache(self.model.config)[0], longest)
        ends = [row.roll(len(suffix) - longest, dims=0) for row, suffix in zip(logits, suffixes, strict=True)]
        return torch.stack(ends)

    @torch.inference_mode()
    def retain(self, rows: list[Sequence], slots: list[int]) -> None:
        """Drop all rows but these, which are in slots."""
        if not rows:
            return self.clear()
        if slots != list(range(len(self.rows))):
            index = torch.tensor(slots, device=self.model.device)
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
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        positions: torch.Tensor,
        cache: Any,
        num_logits: int = 1,
        images: Mapping[str, torch.Tensor] = MappingProxyType({}),
    ) -> torch.Tensor:
        """Logits (rows, num_logits, vocab) after the last tokens. images: the model's arguments for those of rows."""
        options = {"cache_params" if self._is_mamba else "past_key_values": cache, **images}
        if self._can_keep_logits:
            options["logits_to_keep"] = num_logits
        if self._takes_positions:
            options["position_ids"] = positions
        if mask.shape == ids.shape or not self._is_mamba:
            options["attention_mask"] = mask
        output = self.model(input_ids=ids, use_cache=True, **options)
        logits: torch.Tensor = output.logits[:, -num_logits:]
        return logits
