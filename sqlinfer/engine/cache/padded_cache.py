"""Key-value caches whose rows come and go: made, merged, selected, trimmed. Knows no sequences."""

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

    A sliding window keeps whole rows and leaves the window to the attention mask, so that rows of different
    age fit together. Caches of any other kind (recurrent states, chunks) stay as they are and are not merged.
    """
    cache = DynamicCache(config=config)
    text = config.get_text_config(decoder=True)
    chunked = getattr(text, "attention_chunk_size", None) is not None
    if chunked or any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
        return cache, False
    cache.layers = [GrowableLayer() for _ in range(_num_layers(config) or len(cache.layers))]
    return cache, True


def has_plain_cache(config: Any) -> bool:
    """Whether a model remembers keys and values and nothing else; recurrent ones read their weights in ways of their
    own."""
    return new_cache(config)[1]


def _num_layers(config: Any) -> int | None:
    """The decoder's layers, where the encoder may have more or fewer: transformers makes a cache for the encoder's."""
    return getattr(config, "num_decoder_layers", None) or getattr(config, "decoder_layers", None)


def merge(cache: DynamicCache, other: DynamicCache, *, left: bool) -> None:
    """Append the rows of other to cache; the shorter is padded, on the left or on the right."""
    for mine, new in zip(cache.layers, other.layers, strict=True):
        mine.keys = add_rows(mine.keys, new.keys, left=left)
        mine.values = add_rows(mine.values, new.values, left=left)


def has_windows(config: Any) -> bool:
    """Whether a token of the model sees only so many slots back, so that padding in between would hide others."""
    layers = DynamicCache(config=config).layers
    return any(isinstance(layer, DynamicSlidingWindowLayer) for layer in layers) or hasattr(config, "window_size")


def pack(cache: DynamicCache, mask: torch.Tensor) -> torch.Tensor:
    """Move the padding of each row of a cache, wherever it lies, to the left. Returns the mask (rows, slots) after."""
    order = mask.argsort(dim=1, stable=True)
    for layer in cache.layers:
        if layer.get_seq_length():
            index = order[:, None, :, None]
            layer.keys = layer.keys.gather(2, index.expand_as(layer.keys))
            layer.values = layer.values.gather(2, index.expand_as(layer.values))
    return mask.gather(1, order)


def select(cache: DynamicCache, index: torch.Tensor) -> DynamicCache:
    """A cache of the rows at index, repeated at will; growing it leaves the other as it is."""
    selected = copy(cache)
    selected.layers = [copy(layer) for layer in cache.layers]
    selected.reorder_cache(index)
    return selected


def reorder_rows(cache: DynamicCache, index: torch.Tensor) -> None:
    """Keep the rows at index, repeated or left out at will."""
    for layer in cache.layers:
        layer.keys, layer.values = reorder(layer.keys, index), reorder(layer.values, index)


def compact_rows(kept: list[int]) -> list[int]:
    """Which of kept places, ascending, goes to each of the first ones, if only those beyond them move.

    >>> compact_rows([0, 2, 5])
    [0, 5, 2]
    """
    staying = {place for place in kept if place < len(kept)}
    moving = iter([place for place in kept if place >= len(kept)])
    return [place if place in staying else next(moving) for place in range(len(kept))]


def move(states: torch.Tensor, order: list[int], width: int) -> torch.Tensor:
    """The rows of states, of width lines each, that order names for each place; written in place."""
    for place, source in enumerate(order):
        if place != source:
            states[place * width : (place + 1) * width] = states[source * width : (source + 1) * width]
    return states[: len(order) * width]


def move_rows(cache: DynamicCache, order: list[int], width: int) -> None:
    """The same for each layer of a cache."""
    for layer in cache.layers:
        layer.keys, layer.values = move(layer.keys, order, width), move(layer.values, order, width)


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


def padded(rows: list[list[int]], device: torch.device, *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask (rows, slots) of rows of unequal length."""
    longest = max(map(len, rows))
    fill = [[0] * (longest - len(row)) for row in rows]
    ones = [[1] * len(row) for row in rows]
    ids = [f + r if left else r + f for r, f in zip(rows, fill, strict=True)]
    mask = [f + o if left else o + f for o, f in zip(ones, fill, strict=True)]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position of each slot in its row; 0 for padding."""
    return (mask.cumsum(-1) - 1).clamp_(min=0)
