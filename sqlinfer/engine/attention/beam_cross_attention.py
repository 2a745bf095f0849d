"""Attention of a row's beams to what the row's encoder has read, which is in memory once for all of them.

transformers' own attention layers call it instead of their kernel. Knows no sequences.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import AttentionInterface, AttentionMaskInterface, EncoderDecoderCache
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sqlinfer.engine.cache import padded_cache as kv
from sqlinfer.engine.model.cpu_linear import tolerance

NAME = "sqlinfer_beams"
KERNEL = "sdpa"
_supported: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def is_supported(model: Any) -> bool:
    """Whether all attention of a model's decoder goes through transformers' interface, which is tried out once."""
    if model not in _supported:
        uses_kernel = bool(model._supports_sdpa) and model.get_decoder().config._attn_implementation == KERNEL
        _supported[model] = uses_kernel and _try_out(model)
    return _supported[model]


@torch.inference_mode()
def _try_out(model: Any) -> bool:
    """Whether two beams of two rows give the same logits with what a row's encoder has read once and twice."""
    ids = torch.tensor([[4, 5, 6, 3], [5, 3, 4, 6]], device=model.device)
    states = model.get_encoder()(input_ids=ids).last_hidden_state
    found = []
    for times in (1, 2):
        cache = EncoderDecoderCache(kv.new_cache(model.config)[0], kv.new_cache(model.config)[0])
        repeated = BaseModelOutput(last_hidden_state=states.repeat_interleave(times, dim=0))
        first = ids[:, :1].repeat_interleave(times, dim=0)
        lines = BaseModelOutput(last_hidden_state=states.repeat_interleave(2, dim=0))
        following = torch.tensor([[3], [4], [5], [6]], device=model.device)
        try:
            model(encoder_outputs=repeated, decoder_input_ids=first, past_key_values=cache, use_cache=True)
            cache.self_attention_cache.batch_repeat_interleave(2 // times)
            with shared_by_beams(model):
                output = model(
                    encoder_outputs=lines, decoder_input_ids=following, past_key_values=cache, use_cache=True
                )
        except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, IndexError):
            return False
        found.append(output.logits.float())
    once, twice = found
    return torch.allclose(once, twice, rtol=0, atol=tolerance(model) * float(twice.abs().max()))


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
