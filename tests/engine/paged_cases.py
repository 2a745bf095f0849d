"""Plain attention over a paged cache, in the place of the kernel."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from sqlinfer.engine.feeds import Feeds


def plain_attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    table: torch.Tensor,
    feeds: Feeds,
    scale: float | None,
) -> torch.Tensor:
    """What kernels.attention.attend gives, one feed after the other."""
    found = query.new_empty(len(query), query.shape[1], values.shape[-1])
    for start, count, line, place in feeds.blocks(1 << 30).tolist():
        slots = table[line, : place + count].long()
        one = scaled_dot_product_attention(
            query[start : start + count].transpose(0, 1)[None],
            keys[slots].transpose(0, 1)[None],
            values[slots].transpose(0, 1)[None],
            attn_mask=torch.ones(count, place + count, dtype=torch.bool, device=query.device).tril(place),
            scale=scale,
            enable_gqa=True,
        )
        found[start : start + count] = one[0].transpose(0, 1)
    return found
