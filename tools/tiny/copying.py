"""Starts a Llama, or a T5, with heads that copy, which a small model on two cores would need hours to find by itself.

What is wired is the induction head that trained models are known to grow (Olsson et al. 2022): a head of the first
layer tells each token which token stands before it; two heads of the second look for the token that stands behind an
earlier occurrence of this one, and say it. From there on training only sharpens it. In a T5 the first head stands in
the encoder and the second is one of the decoder's first cross-attention. Knows no text and no task.
"""

from __future__ import annotations

from typing import Any

import torch

EMBEDDING = 0.06
"""Standard deviation of the token embeddings, the residual stream's unit."""

_CONSTANT = 4.0
"""The first component of every embedding, in units: what a head sees at each position whatever the token."""

_LOOK_BACK = 6.0
_MATCH = 1.4
_TELL = 2.0
_SAY = 3.0
_MATCH_PAIR = 0.5
"""Gains: of the look at the token before, of the match of equal tokens, of what the heads write (in units); of the
match in a T5, whose attention is not scaled."""


def wire(model: Any) -> None:
    """Set all weights: random ones of unit gain, attention and MLPs that add nothing yet, and the heads that copy."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embed_tokens" in name:
                weight.normal_(0.0, EMBEDDING)
                weight[:, 0] = _CONSTANT * EMBEDDING
            elif name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
            elif weight.dim() > 1:
                weight.normal_(0.0, weight.shape[1] ** -0.5)
        width, head = model.config.hidden_size, model.config.hidden_size // model.config.num_attention_heads
        token, previous = _subspace(head, width), _subspace(head, width)
        first, second = (layer.self_attn for layer in model.model.layers[:2])
        _look_back(first, head, model.config.rope_parameters["rope_theta"])
        first.v_proj.weight[:head] = token
        first.o_proj.weight[:, :head] = _TELL * EMBEDDING * previous.T
        for number, rows in enumerate((slice(0, head // 2), slice(head // 2, head))):
            own = slice(number * head, (number + 1) * head)
            _match(second.q_proj.weight[own], token[rows])
            _match(second.k_proj.weight[own], previous[rows])
            _say(second, own)
        for layer in model.model.layers[2:]:
            _say(layer.self_attn, slice(0, head))


def wire_pair(model: Any) -> None:
    """Set one head of a T5's encoder and one of its decoder so that they copy, and let others look at what is near.

    Its position biases start at nearly zero and training hardly moves them: the encoder reads a bag of tokens.
    """
    size = model.config.d_kv
    own = slice(0, size)
    with torch.no_grad():
        token, previous = (_subspace(size, model.config.d_model) for _ in range(2))
        back, first = (stack.block[0].layer[0].SelfAttention for stack in (model.encoder, model.decoder))
        _look_near(back.relative_attention_bias.weight[: model.config.relative_attention_num_buckets // 2])
        _look_near(first.relative_attention_bias.weight)
        _look_ahead(back.relative_attention_bias.weight[model.config.relative_attention_num_buckets // 2 :])
        back.relative_attention_bias.weight[1, 0] = 9.0
        back.q.weight[own] *= 0.2
        back.v.weight[own] = token
        back.o.weight[:, own] = _TELL * previous.T
        norm, cross = model.decoder.block[0].layer[1].layer_norm, model.decoder.block[0].layer[1].EncDecAttention
        cross.q.weight[own] = _MATCH_PAIR * token / norm.weight.clamp(min=0.2)
        cross.k.weight[own] = _MATCH_PAIR * previous / model.encoder.final_layer_norm.weight.abs().clamp(min=0.05)


def _look_near(bias: torch.Tensor) -> None:
    """Of the distances back (buckets, heads): the first head looks at the token before, the second at those near."""
    distance = torch.arange(len(bias))
    bias[:, 0] = 6.0 * (distance == 1)
    bias[:, 1] = 2.0 - 0.5 * distance


def _look_ahead(bias: torch.Tensor) -> None:
    """Of the distances ahead: the first two heads of the encoder look back only, the third looks at the next token."""
    bias[:, 0], bias[:, 1] = 0.0, -4.0
    bias[:, 2] = 4.0 * (torch.arange(len(bias)) == 1)


def _say(attention: Any, own: slice) -> None:
    """What a head looks at goes into the residual stream as it is: the tied embeddings then say that token."""
    subspace = _subspace(own.stop - own.start, attention.q_proj.in_features)
    attention.v_proj.weight[own] = subspace
    attention.o_proj.weight[:, own] = _SAY * EMBEDDING * subspace.T


def _look_back(attention: Any, head: int, theta: float) -> None:
    """The first head asks, of the constant component alone, for the position one before: its fast rotations agree."""
    half = head // 2
    turns = theta ** (-torch.arange(half) / half)  # radians a position, of each pair (i, i + half)
    fast = torch.arange(half) < half // 4
    gain = _LOOK_BACK / _CONSTANT * fast
    queries, keys = attention.q_proj.weight[:head], attention.k_proj.weight[:head]
    queries *= 0.1
    keys *= 0.1
    queries[:half, 0] = gain
    keys[:half, 0] = gain * turns.cos()
    keys[half:, 0] = gain * turns.sin()


def _match(weight: torch.Tensor, subspace: torch.Tensor) -> None:
    """Read these components on the slow rotations, which hardly tell one distance from another."""
    half = len(subspace)
    slow = torch.cat([torch.arange(half // 2, half), torch.arange(half + half // 2, 2 * half)])
    weight *= 0.1
    weight[slow] += _MATCH * subspace


def _subspace(size: int, width: int) -> torch.Tensor:
    """size random orthogonal directions of the residual stream, without its constant component."""
    rows: torch.Tensor = torch.linalg.qr(torch.randn(width, size))[0].T  # (size, width)
    rows[:, 0] = 0.0
    return rows
