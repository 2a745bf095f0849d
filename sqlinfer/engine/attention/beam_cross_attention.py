"""Cross-attention of beams: the encoder's keys and values are in memory once a row and not once a beam.

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
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sqlinfer.engine.attention.self_test import tolerance
from sqlinfer.engine.cache import padded_cache as kv

NAME = "sqlinfer_beams"
KERNEL = "sdpa"
_supported: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def is_supported(model: Any) -> bool:
    """Whether all attention of a model's decoder goes through transformers' interface: a self-test, run once."""
    if model not in _supported:
        uses_kernel = bool(model._supports_sdpa) and model.get_decoder().config._attn_implementation == KERNEL
        _supported[model] = uses_kernel and _run_self_test(model)
    return _supported[model]


@torch.inference_mode()
def _run_self_test(model: Any) -> bool:
    """Whether two beams of two rows give the same logits with the encoder's KV once a row and once a beam."""
    ids = torch.tensor([[4, 5, 6, 3], [5, 3, 4, 6]], device=model.device)
    output = model.get_encoder()(input_ids=ids)
    encoded, encoder_output = output.last_hidden_state, type(output)
    logits = []
    for copies in (1, 2):
        cache = EncoderDecoderCache(kv.new_cache(model.config)[0], kv.new_cache(model.config)[0])
        by_copy = encoder_output(last_hidden_state=encoded.repeat_interleave(copies, dim=0))
        first = ids[:, :1].repeat_interleave(copies, dim=0)
        by_beam = encoder_output(last_hidden_state=encoded.repeat_interleave(2, dim=0))
        following = torch.tensor([[3], [4], [5], [6]], device=model.device)
        try:
            model(encoder_outputs=by_copy, decoder_input_ids=first, past_key_values=cache, use_cache=True)
            cache.self_attention_cache.batch_repeat_interleave(2 // copies)
            with share_encoder_kv(model):
                output = model(
                    encoder_outputs=by_beam, decoder_input_ids=following, past_key_values=cache, use_cache=True
                )
        except Exception:  # noqa: BLE001 - what a model lacks may raise anything
            return False
        logits.append(output.logits.float())
    shared, repeated = logits
    return torch.allclose(shared, repeated, rtol=0, atol=tolerance(model) * float(repeated.abs().max()))


def beam_cross_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **arguments: Any,
) -> tuple[torch.Tensor, None]:
    """(beams, tokens, heads, head_dim) from a query of (beams, heads, tokens, head_dim).

    key, value: (rows, heads, slots, head_dim). All rows have the same number of beams, whose queries are folded into
    one matrix. All tokens of a row must attend to the same slots.
    """
    attend = ALL_ATTENTION_FUNCTIONS[KERNEL]
    rows = len(key)
    num_beams, heads, tokens, head_dim = query.shape
    beams_a_row = num_beams // rows
    if beams_a_row == 1:
        output, _ = attend(module, query, key, value, attention_mask, **arguments)
        return output, None
    folded = query.view(rows, beams_a_row, heads, tokens, head_dim).transpose(1, 2).reshape(rows, heads, -1, head_dim)
    if attention_mask is not None:
        attention_mask = attention_mask[::beams_a_row, :, :1]
    if arguments.get("position_bias") is not None:
        arguments["position_bias"] = arguments["position_bias"][::beams_a_row, :, :1]
    output, _ = attend(module, folded, key, value, attention_mask, **{**arguments, "is_causal": False})
    return output.reshape(num_beams, tokens, heads, -1), None


AttentionInterface.register(NAME, beam_cross_attention)
AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS[KERNEL])


@contextmanager
def share_encoder_kv(model: Any) -> Iterator[None]:
    """Let the decoder of a model attend with fewer rows of keys than of queries."""
    config = model.get_decoder().config
    implementation = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = implementation
