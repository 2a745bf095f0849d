"""Texts packed for an encoder: their tokens one after another, so that no product is spent on padding.

Knows no tokenizer and no pooling.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence as Series
from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from sqlinfer.engine.attention.packed_decoder import Unsupported, packed
from sqlinfer.engine.model.cpu_linear import tolerance

TRIED = ([7, 3, 5, 4, 6], [4, 6, 9], [5, 9, 8])


class PackedTexts:
    """The texts of one pass: each attends to itself. Those of equal length that stand together do it in one go."""

    def __init__(self, lengths: Series[int]) -> None:
        self._groups = [(length, len(list(group))) for length, group in groupby(lengths)]

    def attend(
        self, layer: int, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float | None
    ) -> torch.Tensor:
        """(1, tokens, heads, head_dim) from query, keys and values of (1, heads, tokens, head_dim)."""
        del layer
        found = query.new_empty(query.shape[2], query.shape[1], values.shape[-1])
        start = 0
        for length, count in self._groups:
            end = start + length * count
            one = scaled_dot_product_attention(
                _by_text(query[0, :, start:end], count),
                _by_text(keys[0, :, start:end], count),
                _by_text(values[0, :, start:end], count),
                scale=scale,
                enable_gqa=query.shape[1] != keys.shape[1],
            )
            found[start:end] = one.transpose(1, 2).flatten(0, 1)
            start = end
        return found[None]


def _by_text(states: torch.Tensor, count: int) -> torch.Tensor:
    """(texts, heads, length, head_dim) from (heads, tokens, head_dim)."""
    heads, _, head_dim = states.shape
    return states.reshape(heads, count, -1, head_dim).transpose(0, 1)


def read_packed(model: Any, texts: Series[list[int]], first_position: int) -> torch.Tensor:
    """The states (tokens, width) of the tokens of texts, one text after another. first_position: of each text."""
    ids = [token for text in texts for token in text]
    positions = [first_position + place for text in texts for place in range(len(text))]
    with packed(model.config):
        output = model(
            input_ids=torch.tensor([ids], device=model.device),
            position_ids=torch.tensor([positions], device=model.device),
            packed=PackedTexts([len(text) for text in texts]),
        )
    states: torch.Tensor = output.last_hidden_state[0]
    return states


@torch.inference_mode()
def can_pack(model: Any, first_position: int) -> bool:
    """Whether an encoder reads packed texts as it reads each alone, which is tried out on short ones."""
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return False
    try:
        found = read_packed(model, TRIED, first_position)
    except (Unsupported, TypeError, ValueError, KeyError, AttributeError, IndexError, RuntimeError):
        return False
    alone = [model(input_ids=torch.tensor([text], device=model.device)).last_hidden_state[0] for text in TRIED]
    expected = torch.cat(alone).float()
    most = tolerance(model) * float(expected.abs().max())
    return found.shape == expected.shape and torch.allclose(found.float(), expected, rtol=0, atol=most)
