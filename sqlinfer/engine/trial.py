"""Whether a model may run with a paged cache on this GPU: its logits on a few short texts must be its own.

Kernels and drivers differ between machines, so that this is tried out wherever a model is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch

from sqlinfer.engine.device import free_memory, is_out_of_memory, release_memory
from sqlinfer.engine.packed import find_unfit, is_plain
from sqlinfer.engine.paged import PagedBatch
from sqlinfer.engine.paged_model import PagedModel
from sqlinfer.engine.pages import PAGE, PageCache
from sqlinfer.engine.sequence import Sequence
from sqlinfer.engine.settings import Settings
from sqlinfer.types import Request

logger = logging.getLogger(__name__)
SHARE = 0.7  # of the free memory; the rest is for what a pass computes
NUM_LINES = 512  # two full batches
LONGEST = 400  # tokens of a text that is tried; keys of more than one tile, and pages of more than one row
_ANY = Settings(1, 0, 0.0, 1.0, 0, 1, 0, (), frozenset(), {})


def open_paged(model: Any) -> tuple[PagedModel | None, str]:
    """A model with a paged cache of measured memory; or None, and why it cannot have one."""
    try:
        from sqlinfer.engine.kernels.attention import attend
    except ImportError as error:
        return None, f"Triton cannot be loaded ({error})"
    if obstacle := find_unfit(model):
        return None, obstacle
    small = PageCache(8 * LONGEST // PAGE, 8, model.device)
    can_replay, obstacle = True, try_out(PagedModel(model, small, attend, can_replay=True))
    if obstacle:
        logger.info("steps are not captured in graphs: %s", obstacle)
        small = PageCache(8 * LONGEST // PAGE, 8, model.device)
        can_replay, obstacle = False, try_out(PagedModel(model, small, attend, can_replay=False))
    if obstacle:
        return None, obstacle
    cache = _sized(small)
    if cache is None:
        return None, "no memory is left for a cache"
    return PagedModel(model, cache, attend, can_replay=can_replay), ""


def _sized(small: PageCache) -> PageCache | None:
    """A cache that takes its share of the free memory, or less if that cannot be had in one piece."""
    device = small.table.device
    num_pages = int(free_memory(device) * SHARE) // (small.bytes_per_slot * PAGE)
    while num_pages > 1:
        try:
            return small.resized(num_pages, NUM_LINES)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        release_memory(device)
        num_pages //= 2
    return None


@torch.inference_mode()
def try_out(paged: PagedModel) -> str:
    """Why a model cannot run with the cache that it has here; "" if it can."""
    try:
        different = [what for what, found, texts in _passes(paged) if not is_plain(paged.model, found, texts)]
    except Exception as error:  # noqa: BLE001 - a kernel that does not compile may raise anything
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
    if paged.cache.num_layers != int(paged.model.config.get_text_config(decoder=True).num_hidden_layers):
        return "its attention is of another kind"
    return f"other logits after {different[0]}" if different else ""


def _passes(paged: PagedModel) -> Iterator[tuple[str, torch.Tensor, list[list[int]]]]:
    """Each kind of pass that a batch makes: what it is, its logits, and the texts after which these are."""
    positions = getattr(paged.model.config.get_text_config(decoder=True), "max_position_embeddings", None) or LONGEST
    long = [3 + i * i % 7 for i in range(min(LONGEST, positions - 8))]
    half = long[: len(long) // 2 + 1]
    batch = PagedBatch(paged)
    rows = [_row(text) for text in ([4, 6, 9], [*half, 7, 3], long, [*half, 5])]
    yield "a prefill", batch.join(rows[:3]), _histories(rows[:3])
    yield "a prefill that goes on from another", batch.join(rows[3:]), _histories(rows[3:])
    for feed in ([5], [6], [4, 8]):
        for row in rows:
            row.output += feed
            row.num_unread = len(feed)
        yield f"a step of {len(feed)}", batch.step(), _histories(rows)
    feeds = [[5], [7, 3], [3]]
    continued = [rows[i].history + feed for i, feed in zip((0, 0, 2), feeds, strict=True)]
    yield "feeds", batch.read([0, 0, 2], feeds)[:, -1], continued
    batch.keep(rows[2:], [2, 3])
    for row in rows[2:]:
        row.output.append(6)
        row.num_unread = 1
    yield "a step of rows that stay", batch.step(), _histories(rows[2:])


def _row(text: list[int]) -> Sequence:
    return Sequence(Request(""), _ANY, text, text)


def _histories(rows: list[Sequence]) -> list[list[int]]:
    return [row.history for row in rows]
