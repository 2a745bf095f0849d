"""Padded KV caches whose rows come and go: made, merged, selected, trimmed. Knows no sequences."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from sqlinfer.engine.cache.growable_tensor import GrowableLayer, add_rows, reorder


def new_cache(config: Any) -> tuple[DynamicCache, bool]:
    """An empty cache for a model, and whether batches of it can be merged.

    Sliding window layers keep whole rows and leave the window to the attention mask, so that rows of different length
    fit together. Other caches (recurrent states, chunked attention) stay as they are and are not merged.
    """
    cache = DynamicCache(config=config)
    text = config.get_text_config(decoder=True)
    chunked = getattr(text, "attention_chunk_size", None) is not None
    if chunked or any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
        return cache, False
    cache.layers = [GrowableLayer() for _ in range(_num_layers(config) or len(cache.layers))]
    return cache, True


def has_plain_cache(config: Any) -> bool:
    """Whether a model's cache is keys and values and nothing else; recurrent models also use their weights in other
    ways than by matmuls."""
    has_layers = hasattr(config.get_text_config(decoder=True), "num_hidden_layers")  # as convolutions have not
    return has_layers and new_cache(config)[1]


def _num_layers(config: Any) -> int | None:
    """The decoder's layers where they differ from the encoder's, which transformers would make a cache for."""
    return getattr(config, "num_decoder_layers", None) or getattr(config, "decoder_layers", None)


def merge(cache: DynamicCache, other: DynamicCache, *, left: bool) -> None:
    """Append the rows of other to cache; the shorter is padded, on the left or on the right."""
    for layer, new in zip(cache.layers, other.layers, strict=True):
        layer.keys = add_rows(layer.keys, new.keys, left=left)
        layer.values = add_rows(layer.values, new.values, left=left)


def has_sliding_window(config: Any) -> bool:
    """Whether the model has sliding window attention, where padding between tokens would push others out."""
    layers = DynamicCache(config=config).layers
    return any(isinstance(layer, DynamicSlidingWindowLayer) for layer in layers) or hasattr(config, "window_size")


def left_align(cache: DynamicCache, mask: torch.Tensor) -> torch.Tensor:
    """Move the padding of each row, wherever it lies, to the left. Returns the new attention mask (rows, slots)."""
    order = mask.argsort(dim=1, stable=True)
    for layer in cache.layers:
        if layer.get_seq_length():
            index = order[:, None, :, None]
            layer.keys = layer.keys.gather(2, index.expand_as(layer.keys))
            layer.values = layer.values.gather(2, index.expand_as(layer.values))
    return mask.gather(1, order)


def select(cache: DynamicCache, index: torch.Tensor) -> DynamicCache:
    """A copy of the rows at index, repeated at will; growing it leaves the original as it is."""
    selected = copy(cache)
    selected.layers = [copy(layer) for layer in cache.layers]
    selected.reorder_cache(index)
    return selected


def reorder_rows(cache: DynamicCache, index: torch.Tensor) -> None:
    """Keep the rows at index, repeated or dropped at will."""
    for layer in cache.layers:
        layer.keys, layer.values = reorder(layer.keys, index), reorder(layer.values, index)


def compact_order(kept: list[int]) -> list[int]:
    """For each of the first rows, which of the kept ones (ascending) goes there, if only those beyond move.

    >>> compact_order([0, 2, 5])
    [0, 5, 2]
    """
    staying = {index for index in kept if index < len(kept)}
    moving = iter([index for index in kept if index >= len(kept)])
    return [index if index in staying else next(moving) for index in range(len(kept))]


def compact_rows(tensor: torch.Tensor, order: list[int], beams: int) -> torch.Tensor:
    """Move the rows, of so many beams each, into an order from compact_order; in place."""
    for target, source in enumerate(order):
        if target != source:
            tensor[target * beams : (target + 1) * beams] = tensor[source * beams : (source + 1) * beams]
    return tensor[: len(order) * beams]


def compact_cache(cache: DynamicCache, order: list[int], beams: int) -> None:
    """compact_rows for each layer of a cache."""
    for layer in cache.layers:
        layer.keys, layer.values = compact_rows(layer.keys, order, beams), compact_rows(layer.values, order, beams)


def trim(cache: DynamicCache, count: int, *, left: bool) -> None:
    """Drop count slots of padding from each row."""
    if count <= 0:
        return
    for layer in cache.layers:
        length = layer.keys.shape[-2]
        kept = slice(count, length) if left else slice(0, length - count)
        layer.keys, layer.values = layer.keys[:, :, kept], layer.values[:, :, kept]


def merge_masks(mask: torch.Tensor, other: torch.Tensor, *, left: bool) -> torch.Tensor:
    """The attention masks (rows, slots) of two merged batches."""
    missing = mask.shape[1] - other.shape[1]
    sides = [(max(n, 0), 0) if left else (0, max(n, 0)) for n in (-missing, missing)]
    return torch.cat([pad(mask, sides[0]), pad(other, sides[1])])


def pad_rows(rows: list[list[int]], device: torch.device, *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask (rows, slots) of rows of unequal length."""
    longest = max(map(len, rows))
    zeros = [[0] * (longest - len(row)) for row in rows]
    ones = [[1] * len(row) for row in rows]
    ids = [z + r if left else r + z for r, z in zip(rows, zeros, strict=True)]
    mask = [z + o if left else o + z for o, z in zip(ones, zeros, strict=True)]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position of each slot in its row; 0 for padding."""
    return (mask.cumsum(-1) - 1).clamp_(min=0)
