"""Attention of a row's beams to what the row's encoder has read, which is in memory once for all of them.

transformers' own attention layers call it instead of their kernel. Knows no sequences and no caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "sqlinfer_beams"
KERNEL = "sdpa"


def is_supported(model: Any) -> bool:
    """Whether all attention of a model's decoder goes through transformers' interface."""
    return bool(model._supports_sdpa) and model.get_decoder().config._attn_implementation == KERNEL


def beam_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """(lines, tokens, heads, head_dim) from a query of (lines, heads, tokens, head_dim).

    key, value: (rows, heads, slots, head_dim), where each row has as many lines as any other; these are the queries of
    one matrix. No token may see less of the slots than another.
    """
    attend = ALL_ATTENTION_FUNCTIONS[KERNEL]
    rows = len(key)
    lines, heads, tokens, head_dim = query.shape
    beams = lines // rows
    if beams == 1:
        found, _ = attend(module, query, key, value, attention_mask, **more)
        return found, None
    folded = query.view(rows, beams, heads, tokens, head_dim).transpose(1, 2).reshape(rows, heads, -1, head_dim)
    if attention_mask is not None:
        attention_mask = attention_mask[::beams, :, :1]
    if more.get("position_bias") is not None:
        more["position_bias"] = more["position_bias"][::beams, :, :1]
    found, _ = attend(module, folded, key, value, attention_mask, **{**more, "is_causal": False})
    return found.reshape(lines, tokens, heads, -1), None


AttentionInterface.register(NAME, beam_attention)
AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS[KERNEL])


@contextmanager
def shared_by_beams(model: Any) -> Iterator[None]:
    """Let the decoder of a model attend with fewer rows of keys than lines of queries."""
    config = model.get_decoder().config
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
