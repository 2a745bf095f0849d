"""What a decoder-only model must have so that its tokens can be packed, and whether packed logits are its own."""

from __future__ import annotations

import inspect
from collections.abc import Sequence as Series
from typing import Any

import torch

from sqlinfer.engine.attention.self_test import tolerance
from sqlinfer.engine.cache import padded_cache as kv

NEEDED_ARGUMENTS = ("position_ids", "logits_to_keep")


def unsupported_reason(model: Any) -> str:
    """Why the tokens of a model cannot be packed, as far as configuration and arguments tell; "" if they may be."""
    accepted = inspect.signature(model.forward).parameters
    if not kv.has_plain_cache(model.config):
        return "it has states besides the KV cache"
    if kv.has_sliding_window(model.config):
        return "it uses sliding-window attention"
    if any(name not in accepted for name in NEEDED_ARGUMENTS):
        return "it computes its own positions"
    return ""


def matches_plain_forward(model: Any, logits: torch.Tensor, texts: Series[list[int]]) -> bool:
    """Whether logits (texts, vocab) are those of the model's own forward after each text, but for rounding."""
    inputs = [torch.tensor([text], device=model.device) for text in texts]
    expected = torch.cat([model(input_ids=ids, use_cache=False).logits[:, -1] for ids in inputs])
    atol = tolerance(model) * float(expected.float().abs().max())
    return torch.allclose(logits.float(), expected.float(), rtol=0, atol=atol)
