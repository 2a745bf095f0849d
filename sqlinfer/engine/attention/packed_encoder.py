"""Variable-length attention for an encoder: texts packed one after another, so that no matmul is spent on padding.

Knows no tokenizer and no pooling.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence as Series
from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from sqlinfer.engine.attention.packed_decoder import use_packed_attention
from sqlinfer.engine.attention.self_test import tolerance

SELF_TEST_TEXTS = ([7, 3, 5, 4, 6], [4, 6, 9], [5, 9, 8])


class EncoderForwardContext:
    """The texts of a forward pass, each attending to itself; neighbours of equal length share one attention call."""

    def __init__(self, lengths: Series[int]) -> None:
        self._groups = [(length, len(list(group))) for length, group in groupby(lengths)]

    def attend(
        self, layer: int, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float | None
    ) -> torch.Tensor:
        """(1, tokens, heads, head_dim) from query, keys and values of (1, heads, tokens, head_dim)."""
        del layer
        output = query.new_empty(query.shape[2], query.shape[1], values.shape[-1])
        start = 0
        for length, count in self._groups:
            end = start + length * count
            attended = scaled_dot_product_attention(
                _by_text(query[0, :, start:end], count),
                _by_text(keys[0, :, start:end], count),
                _by_text(values[0, :, start:end], count),
                scale=scale,
                enable_gqa=query.shape[1] != keys.shape[1],
            )
            output[start:end] = attended.transpose(1, 2).flatten(0, 1)
            start = end
        return output[None]


def _by_text(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """(texts, heads, length, head_dim) from (heads, tokens, head_dim)."""
    heads, _, head_dim = tensor.shape
    return tensor.reshape(heads, count, -1, head_dim).transpose(0, 1)


def forward_packed(model: Any, texts: Series[list[int]], first_position: int) -> torch.Tensor:
    """Hidden states (tokens, width) of the tokens of all texts. first_position: of each text's first token."""
    ids = [token for text in texts for token in text]
    positions = [first_position + i for text in texts for i in range(len(text))]
    with use_packed_attention(model.config):
        output = model(
            input_ids=torch.tensor([ids], device=model.device),
            position_ids=torch.tensor([positions], device=model.device),
            forward_context=EncoderForwardContext([len(text) for text in texts]),
        )
    states: torch.Tensor = output.last_hidden_state[0]
    return states


@torch.inference_mode()
def can_pack(model: Any, first_position: int) -> bool:
    """Self-test: whether an encoder gives packed texts the hidden states of each text alone."""
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return False
    try:
        packed = forward_packed(model, SELF_TEST_TEXTS, first_position)
    except Exception:  # noqa: BLE001 - what a model lacks may raise anything
        return False
    alone = [model(input_ids=torch.tensor([ids], device=model.device)).last_hidden_state[0] for ids in SELF_TEST_TEXTS]
    expected = torch.cat(alone).float()
    limit = tolerance(model) * float(expected.abs().max())
    return packed.shape == expected.shape and torch.allclose(packed.float(), expected, rtol=0, atol=limit)
