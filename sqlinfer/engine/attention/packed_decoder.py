"""Attention over packed tokens: those of many rows one after another, without padding between them.

A forward context is handed to the model with its token ids; transformers' own attention layers then call it instead of
their kernel. Knows no sequences and no scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Series
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from sqlinfer.engine.cache.length_bucket import KV, LengthBucket
from sqlinfer.engine.cache.prefix_tree import PrefixNode

NAME = "sqlinfer_packed"
UNSUPPORTED_ARGUMENTS = ("softcap", "sliding_window", "s_aux", "position_bias")


class Unsupported(RuntimeError):
    """A model needs an attention that packed tokens do not have."""


class ForwardContext:
    """The tokens of a forward pass: first one of each row of the buckets, then those of the prefix tree nodes.

    Buckets have a slot reserved for each row's token. The KV of the nodes' tokens is kept for those who write it to a
    cache. See vLLM's forward_context and nano-vllm's utils/context.py.

    num_calls: attention layers that have run.
    """

    def __init__(self, buckets: Series[LengthBucket], nodes: Series[PrefixNode]) -> None:
        self.num_calls = 0
        self._buckets = buckets
        self._nodes = nodes
        self._kv: dict[int, torch.Tensor] = {}  # of each layer (2, heads, tokens, head_dim)
        self._masks: dict[tuple[int, int], torch.Tensor] = {}

    def kv(self, layer: int, node: PrefixNode) -> KV:
        """Keys and values of a node's tokens."""
        keys, values = self._kv[layer][:, :, node.start : node.end]
        return keys, values

    def attend(
        self, layer: int, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float | None
    ) -> torch.Tensor:
        """(1, tokens, heads, head_dim) from query, keys and values of (1, heads, tokens, head_dim)."""
        self.num_calls += 1
        output = query.new_empty(query.shape[2], query.shape[1], values.shape[-1])
        kv = torch.stack([keys[0], values[0]])
        start = 0
        for bucket in self._buckets:
            end = start + len(bucket.rows)
            new = kv[:, :, start:end].transpose(1, 2)
            output[start:end] = bucket.attend(layer, new, query[0, :, start:end].transpose(0, 1), scale)
            start = end
        if self._nodes:
            self._kv[layer] = kv
            self._attend_nodes(layer, query, output, scale)
        return output[None]

    def _attend_nodes(self, layer: int, query: torch.Tensor, output: torch.Tensor, scale: float | None) -> None:
        prefixes: dict[int, KV] = {}  # KV from the prompt's first token on, by the id() of a node with children
        parents = {id(node.parent) for node in self._nodes}
        for node in self._nodes:
            pieces = [self.kv(layer, node)]
            if node.parent is not None:
                pieces.insert(0, prefixes[id(node.parent)])
            elif node.cached_parent is not None:
                pieces.insert(0, node.cached_parent(layer, node.offset))
            keys, values = pieces[0] if len(pieces) == 1 else concatenate(pieces)
            if id(node) in parents:
                prefixes[id(node)] = keys, values
            mask = self._mask(len(node.tokens), keys.shape[1], keys)
            attended = scaled_dot_product_attention(
                query[:, :, node.start : node.end],
                keys[None],
                values[None],
                attn_mask=mask,
                is_causal=mask is None and len(node.tokens) > 1,
                scale=scale,
                enable_gqa=query.shape[1] != keys.shape[0],
            )
            output[node.start : node.end] = attended[0].transpose(0, 1)

    def _mask(self, count: int, total: int, like: torch.Tensor) -> torch.Tensor | None:
        """The causal mask of the last count of total tokens; None where the kernel needs none."""
        if count in (1, total):
            return None
        if (count, total) not in self._masks:
            hidden = torch.ones(count, total, dtype=torch.bool, device=like.device).triu_(total - count + 1)
            self._masks[count, total] = torch.zeros_like(hidden, dtype=like.dtype).masked_fill_(hidden, -torch.inf)
        return self._masks[count, total]


def concatenate(pieces: Series[KV]) -> KV:
    """Keys and values of consecutive tokens, copied into one piece."""
    keys, values = (torch.cat(part, dim=1) for part in zip(*pieces, strict=True))
    return keys, values


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **arguments: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers' layers call. Raises Unsupported for arguments that it lacks."""
    context: ForwardContext | None = arguments.get("forward_context")
    unsupported = [name for name in UNSUPPORTED_ARGUMENTS if arguments.get(name) is not None]
    if context is None or attention_mask is not None or unsupported or len(query) != 1:
        raise Unsupported(f"{type(module).__name__}: {unsupported or 'a custom attention mask'}")
    return context.attend(module.layer_idx, query, key, value, arguments.get("scaling")), None


AttentionInterface.register(NAME, packed_attention)


@contextmanager
def use_packed_attention(config: Any) -> Iterator[None]:
    """Let the layers of a model attend to packed tokens."""
    implementation = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = implementation


def forward(
    model: Any, context: Any, ids: torch.Tensor, positions: torch.Tensor, logit_indices: torch.Tensor | int
) -> torch.Tensor:
    """Logits (logit_indices, vocab) after these of the token ids (tokens,); 0 for all. positions: of each token."""
    with use_packed_attention(model.config):
        output = model(
            input_ids=ids[None],
            position_ids=positions[None],
            logits_to_keep=logit_indices,
            use_cache=False,
            forward_context=context,
        )
    logits: torch.Tensor = output.logits[0]
    return logits
