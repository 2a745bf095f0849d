"""The running batch of an encoder-decoder model, with beam slots.

A row takes one slot of the batch, or one a beam; all rows of a batch take as many. The encoder's side is padded on the
right, and kept once a row where the model allows it; the decoder's is padded on the left. Knows no sampling and no beam
search: it turns token ids into logits.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from transformers import EncoderDecoderCache

from sqlinfer.engine.attention import beam_cross_attention
from sqlinfer.engine.cache import padded_cache as kv
from sqlinfer.engine.model.weights import RELATIVE_POSITIONS
from sqlinfer.engine.sequence import Sequence, decode_width


class PaddedSeq2SeqBatch:
    """Sequences in flight with their padded self-attention and cross-attention caches."""

    is_packed = False

    def __init__(self, model: Any) -> None:
        self.model = model
        self.rows: list[Sequence] = []
        self._embed_positions = getattr(model.get_decoder(), "embed_positions", None)
        self._can_share = beam_cross_attention.is_supported(model)
        self.can_merge = self._knows_row_positions() and kv.new_cache(model.config)[1]
        self.clear()

    def _knows_row_positions(self) -> bool:
        """Whether rows of different age can share a batch: positions are relative, or ours to give."""
        if self.model.config.model_type in RELATIVE_POSITIONS:
            return True
        embed = self._embed_positions
        return embed is not None and "position_ids" in inspect.signature(embed.forward).parameters

    def clear(self) -> None:
        """Drop all rows and their memory."""
        self.rows = []
        self._cache: Any = None
        self._mask: Any = None  # (slots, decoder tokens)
        self._encoder_mask: Any = None  # (rows, encoder tokens), or (slots, ..) where beams do not share it
        self._encoder_output: Any = None  # the class of what the encoder returns
        self._hidden_size = 0  # of the encoder's states
        self._sharing_beams = 1  # slots of a row that share the encoder's side

    @torch.inference_mode()
    def prefill(self, rows: list[Sequence]) -> torch.Tensor:
        """Add rows, run their encoder and decoder prompts. Returns the logits (slots, vocab) of their first tokens."""
        device = self.model.device
        ids, encoder_mask = kv.pad_rows([row.prompt for row in rows], device, left=False)
        encoded = self.model.get_encoder()(input_ids=ids, attention_mask=encoder_mask)
        states, self._encoder_output = encoded.last_hidden_state, type(encoded)
        self._hidden_size = states.shape[-1]
        self._sharing_beams = rows[0].num_slots if self._can_share else 1
        copies = rows[0].num_slots // self._sharing_beams
        states, encoder_mask = (t.repeat_interleave(copies, dim=0) for t in (states, encoder_mask))
        ids, mask = kv.pad_rows([row.decoder_prompt for row in rows for _ in range(copies)], device, left=True)
        cache = EncoderDecoderCache(kv.new_cache(self.model.config)[0], kv.new_cache(self.model.config)[0])
        logits = self._forward(ids, mask, states, encoder_mask, cache)[:, -1]
        if self._sharing_beams > 1:  # which begin alike
            cache.self_attention_cache.batch_repeat_interleave(self._sharing_beams)
            mask, logits = (t.repeat_interleave(self._sharing_beams, dim=0) for t in (mask, logits))
        for row in rows:
            row.num_uncomputed_tokens = 0
        running, self.rows = self.rows, []  # a merge that breaks off leaves no row behind
        self._add(cache, mask, encoder_mask)
        self.rows = running + rows
        return logits

    def _add(self, cache: Any, mask: torch.Tensor, encoder_mask: torch.Tensor) -> None:
        if self._cache is None:
            self._cache, self._mask, self._encoder_mask = cache, mask, encoder_mask
            return
        kv.merge(self._cache.self_attention_cache, cache.self_attention_cache, left=True)
        kv.merge(self._cache.cross_attention_cache, cache.cross_attention_cache, left=False)
        self._mask = kv.merge_masks(self._mask, mask, left=True)
        self._encoder_mask = kv.merge_masks(self._encoder_mask, encoder_mask, left=False)

    @torch.inference_mode()
    def decode(self) -> torch.Tensor:
        """Run each slot's last token, or more where all rows have more. Returns the next logits (slots, vocab)."""
        width = decode_width(self.rows, padded=False)
        ids = torch.tensor([ids for row in self.rows for ids in row.take_input_ids(width)], device=self.model.device)
        mask = torch.cat([self._mask, self._mask.new_ones(ids.shape)], dim=1)
        encoder_mask = self._encoder_mask.repeat_interleave(self._sharing_beams, dim=0)
        logits = self._forward(ids, mask, self._encoded(encoder_mask), encoder_mask, self._cache)[:, -1]
        self._mask = mask
        return logits

    @torch.inference_mode()
    def score_suffixes(self, slots: list[int], suffixes: list[list[int]]) -> torch.Tensor:
        """Logits (suffixes, longest suffix, vocab) after each token of suffixes that continue slots; the batch stays.

        A row that is scored has one slot, and so have those beside it.
        """
        index = torch.tensor(slots, device=self.model.device)
        ids, mask = kv.pad_rows(suffixes, self.model.device, left=False)
        mask = torch.cat([self._mask[index], mask], dim=1)
        encoder_mask = self._encoder_mask[index]
        caches = (self._cache.self_attention_cache, self._cache.cross_attention_cache)
        cache = EncoderDecoderCache(*(kv.select(cache, index) for cache in caches))
        return self._forward(ids, mask, self._encoded(encoder_mask), encoder_mask, cache)

    def _encoded(self, encoder_mask: torch.Tensor) -> torch.Tensor:
        """A stand-in for the encoder's states: they are in the cache, and the model only looks at their shape."""
        shape = (*encoder_mask.shape, self._hidden_size)
        return torch.empty(1, dtype=self.model.dtype, device=self.model.device).expand(shape)

    @torch.inference_mode()
    def retain(self, rows: list[Sequence], slots: list[int]) -> None:
        """Drop all rows but these. slots: those that theirs continue, repeated or dropped at will."""
        if not rows:
            return self.clear()
        if slots != list(range(len(self._mask))):
            rows = self._reorder(rows, slots)
        self.rows = rows
        if self.can_merge:
            self._trim()
        return None

    def _reorder(self, rows: list[Sequence], slots: list[int]) -> list[Sequence]:
        """Keep rows, in a new order: the last ones take the positions of those that left.

        The encoder's side of all beams of a row is the same, so that only the decoder's follows their slots.
        """
        width = rows[0].num_slots
        kept = [slot // width for slot in slots[::width]]
        order = kv.compact_order(kept)
        index_of = {position: i for i, position in enumerate(kept)}
        kv.compact_cache(self._cache.cross_attention_cache, order, width // self._sharing_beams)
        self._encoder_mask = kv.compact_rows(self._encoder_mask, order, width // self._sharing_beams)
        if width == 1:
            kv.compact_cache(self._cache.self_attention_cache, order, width)
            self._mask = kv.compact_rows(self._mask, order, width)
        else:
            starts = [index_of[position] * width for position in order]
            parents = [slot for start in starts for slot in slots[start : start + width]]
            index = torch.tensor(parents, device=self.model.device)
            kv.reorder_rows(self._cache.self_attention_cache, index)
            self._mask = self._mask.index_select(0, index)
        return [rows[index_of[position]] for position in order]

    def _trim(self) -> None:
        unused = self._mask.shape[1] - max(row.num_computed_tokens for row in self.rows)
        kv.trim(self._cache.self_attention_cache, unused, left=True)
        self._mask = self._mask[:, unused:]
        longest = max(len(row.prompt) for row in self.rows)
        kv.trim(self._cache.cross_attention_cache, self._encoder_mask.shape[1] - longest, left=False)
        self._encoder_mask = self._encoder_mask[:, :longest]

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, states: torch.Tensor, encoder_mask: torch.Tensor, cache: Any
    ) -> torch.Tensor:
        shared = beam_cross_attention.share_encoder_kv(self.model) if self._sharing_beams > 1 else nullcontext()
        with shared, self._row_positions(kv.positions(mask)[:, -ids.shape[1] :]):
            output = self.model(
                encoder_outputs=self._encoder_output(last_hidden_state=states),
                attention_mask=encoder_mask,
                decoder_input_ids=ids,
                decoder_attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
            )
        logits: torch.Tensor = output.logits
        return logits

    @contextmanager
    def _row_positions(self, positions: torch.Tensor) -> Iterator[None]:
        """Look up learned positions (slots, tokens), where the model would take the cache's length for all."""
        if not self.can_merge or self._embed_positions is None:
            yield
            return
        hooks = [
            self._embed_positions.register_forward_pre_hook(
                lambda _, args, kwargs: (args, {**kwargs, "position_ids": positions.flatten()}), with_kwargs=True
            ),
            self._embed_positions.register_forward_hook(lambda _, __, output: output.reshape(*positions.shape, -1)),
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
