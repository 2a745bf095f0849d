"""Attention over packed tokens: those of many rows one after another, without padding between them.

A pass is handed to the model with its ids; transformers' own attention layers then call it instead of their kernel.
Knows no sequences and no scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Series
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from sqlinfer.engine.cache.length_bucket import LengthBucket, States
from sqlinfer.engine.cache.prefix_tree import Segment

NAME = "sqlinfer_packed"


class Unsupported(RuntimeError):
    """A model asks for an attention that packed tokens do not get."""


class ForwardContext:
    """Tokens of buckets, one a row, and then of segments; keeps what the segments' keys and values are.

    buckets: rows that read one token each, and have room for it. segments: their starts count from the pass's first.
    """

    def __init__(self, buckets: Series[LengthBucket], segments: Series[Segment]) -> None:
        self.num_calls = 0
        self._cohorts = buckets
        self._segments = segments
        self._states: dict[int, torch.Tensor] = {}  # of each layer (2, heads, tokens, head_dim)
        self._masks: dict[tuple[int, int], torch.Tensor] = {}

    def states(self, layer: int, segment: Segment) -> States:
        """Keys and values of a segment's tokens."""
        keys, values = self._states[layer][:, :, segment.start : segment.end]
        return keys, values

    def attend(
        self, layer: int, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float | None
    ) -> torch.Tensor:
        """(1, tokens, heads, head_dim) from query, keys and values of (1, heads, tokens, head_dim)."""
        self.num_calls += 1
        found = query.new_empty(query.shape[2], query.shape[1], values.shape[-1])
        states = torch.stack([keys[0], values[0]])
        start = 0
        for bucket in self._cohorts:
            end = start + len(bucket.rows)
            new = states[:, :, start:end].transpose(1, 2)
            found[start:end] = bucket.attend(layer, new, query[0, :, start:end].transpose(0, 1), scale)
            start = end
        if self._segments:
            self._states[layer] = states
            self._attend_segments(layer, query, found, scale)
        return found[None]

    def _attend_segments(self, layer: int, query: torch.Tensor, found: torch.Tensor, scale: float | None) -> None:
        before: dict[int, States] = {}  # the keys and values of whole texts, by the id of a segment with children
        parents = {id(segment.parent) for segment in self._segments}
        for segment in self._segments:
            pieces = [self.states(layer, segment)]
            if segment.parent is not None:
                pieces.insert(0, before[id(segment.parent)])
            elif segment.root is not None:
                pieces.insert(0, segment.root(layer, segment.depth))
            keys, values = (
                (torch.cat(part, dim=1) for part in zip(*pieces, strict=True)) if len(pieces) > 1 else pieces[0]
            )
            if id(segment) in parents:
                before[id(segment)] = keys, values
            mask = self._mask(len(segment.tokens), keys.shape[1], keys)
            one = scaled_dot_product_attention(
                query[:, :, segment.start : segment.end],
                keys[None],
                values[None],
                attn_mask=mask,
                is_causal=mask is None and len(segment.tokens) > 1,
                scale=scale,
                enable_gqa=query.shape[1] != keys.shape[0],
            )
            found[segment.start : segment.end] = one[0].transpose(0, 1)

    def _mask(self, count: int, total: int, like: torch.Tensor) -> torch.Tensor | None:
        """What the last count of total tokens see; None where a kernel knows it by itself."""
        if count in (1, total):
            return None
        if (count, total) not in self._masks:
            hidden = torch.ones(count, total, dtype=torch.bool, device=like.device).triu_(total - count + 1)
            self._masks[count, total] = torch.zeros_like(hidden, dtype=like.dtype).masked_fill_(hidden, -torch.inf)
        return self._masks[count, total]


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers' attention layers call. Raises Unsupported for what a pass does not know."""
    packed: ForwardContext | None = more.get("packed")
    asked = [name for name in ("softcap", "sliding_window", "s_aux", "position_bias") if more.get(name) is not None]
    if packed is None or attention_mask is not None or asked or len(query) != 1:
        raise Unsupported(f"{type(module).__name__}: {asked or 'a mask of its own'}")
    return packed.attend(module.layer_idx, query, key, value, more.get("scaling")), None


AttentionInterface.register(NAME, packed_attention)


@contextmanager
def packed(config: Any) -> Iterator[None]:
    """Let the layers of a model attend to packed tokens."""
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def forward(model: Any, done: Any, ids: torch.Tensor, places: torch.Tensor, wanted: torch.Tensor | int) -> torch.Tensor:
    """Logits (wanted, vocab) of a pass over token ids (tokens,), given the place of each in its text.

    wanted: the tokens after which; 0 for all.
    """
    with packed(model.config):
        output = model(
            input_ids=ids[None], position_ids=places[None], logits_to_keep=wanted, use_cache=False, packed=done
        )
    logits: torch.Tensor = output.logits[0]
    return logits
