"""The self-test of a paged KV cache on this GPU: a model's logits on a few short texts must be its own.

Kernels and drivers differ between machines, so that it runs wherever a model is loaded: first its attention kernel,
compared with plain attention, then its decode passes as CUDA graphs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from sqlinfer.engine.attention.paged_runner import PagedAttention, PagedModel
from sqlinfer.engine.attention.query_spans import QuerySpans
from sqlinfer.engine.batch.paged_decoder import PagedDecoderBatch
from sqlinfer.engine.batch.support import matches_plain_forward, unsupported_reason
from sqlinfer.engine.cache.page_pool import PAGE_SIZE, PageCache
from sqlinfer.engine.generation_settings import GenerationSettings
from sqlinfer.engine.model.device import free_memory, is_out_of_memory, release_memory
from sqlinfer.engine.sequence import Sequence
from sqlinfer.types import Request

logger = logging.getLogger(__name__)
SHARE = 0.7  # of the free memory; the rest is for what a pass computes
MAX_ROWS = 512  # of the block table: two full batches
LONGEST = 400  # tokens of a text of the test: keys of more than one tile, and pages of more than one row
TOLERANCE = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 2e-2}  # of the norm of an attention's result
_ANY = GenerationSettings(1, 0, 0.0, 1.0, 0, 1, 0, (), frozenset(), {})


def open_paged(model: Any) -> tuple[PagedModel | None, str]:
    """A model with a paged KV cache of measured memory; or None, and why it cannot have one."""
    try:
        from sqlinfer.engine.attention.paged_kernel import attend
    except ImportError as error:
        return None, f"Triton cannot be loaded ({error})"
    if reason := unsupported_reason(model):
        return None, reason
    compared = _Compared(attend)
    small = PagedModel(model, PageCache(8 * LONGEST // PAGE_SIZE, 8, model.device), compared, uses_cuda_graphs=False)
    if reason := run_self_test(small) or compared.fault(model.dtype):
        return None, reason
    no_graphs = run_self_test(PagedModel(model, small.cache, attend, uses_cuda_graphs=True))
    if no_graphs:
        logger.warning("steps are not captured in CUDA graphs, which is slower: %s", no_graphs)
    cache = _sized(small.cache)
    if cache is None:
        return None, "no memory is left for a KV cache"
    return PagedModel(model, cache, attend, uses_cuda_graphs=not no_graphs), ""


class _Compared:
    """An attention kernel whose results are compared with plain attention; logits would hide small faults."""

    def __init__(self, attend: PagedAttention) -> None:
        self._attend = attend
        self._worst = 0.0

    def __call__(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        block_table: torch.Tensor,
        spans: QuerySpans,
        scale: float | None,
    ) -> torch.Tensor:
        output = self._attend(query, keys, values, block_table, spans, scale)
        plain = plain_attend(query.float(), keys.float(), values.float(), block_table, spans, scale)
        difference = (output.float() - plain).norm() / plain.norm()
        self._worst = max(self._worst, float(difference.nan_to_num(nan=torch.inf)))
        return output

    def fault(self, dtype: torch.dtype) -> str:
        """What is wrong with the kernel; "" if it gives plain attention but for rounding."""
        if self._worst <= TOLERANCE[dtype]:
            return ""
        return f"its attention kernel differs from plain attention by {self._worst:.2g} of plain attention"


def plain_attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    block_table: torch.Tensor,
    spans: QuerySpans,
    scale: float | None,
) -> torch.Tensor:
    """What paged_kernel.attend gives, by torch's own attention, one query span after the other."""
    output = query.new_empty(len(query), query.shape[1], values.shape[-1])
    for start, count, row, position in spans.blocks(1 << 30).tolist():
        slots = block_table[row, : position + count].long()
        attended = scaled_dot_product_attention(
            query[start : start + count].transpose(0, 1)[None],
            keys[slots].transpose(0, 1)[None],
            values[slots].transpose(0, 1)[None],
            attn_mask=torch.ones(count, position + count, dtype=torch.bool, device=query.device).tril(position),
            scale=scale,
            enable_gqa=query.shape[1] != keys.shape[1],
        )
        output[start : start + count] = attended[0].transpose(0, 1)
    return output


def _sized(small: PageCache) -> PageCache | None:
    """A cache that takes its share of the free memory, or less if that cannot be had in one piece."""
    device = small.block_table.device
    num_pages = int(free_memory(device) * SHARE) // (small.bytes_per_slot * PAGE_SIZE)
    while num_pages > 1:
        try:
            return small.resized(num_pages, MAX_ROWS)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        release_memory(device)
        num_pages //= 2
    return None


@torch.inference_mode()
def run_self_test(paged: PagedModel) -> str:
    """Why a model cannot run with the cache that it has here; "" if it can."""
    try:
        passes = _passes(paged)
        different = [name for name, logits, texts in passes if not matches_plain_forward(paged.model, logits, texts)]
    except Exception as error:  # noqa: BLE001 - a kernel that does not compile may raise anything
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"
    if paged.cache.num_layers != int(paged.model.config.get_text_config(decoder=True).num_hidden_layers):
        return "its attention is not supported"
    return f"different logits after {different[0]}" if different else ""


def _passes(paged: PagedModel) -> Iterator[tuple[str, torch.Tensor, list[list[int]]]]:
    """Each pass that a batch can make: its name, its logits, and the texts after which these are."""
    positions = getattr(paged.model.config.get_text_config(decoder=True), "max_position_embeddings", None) or LONGEST
    long = [3 + i * i % 7 for i in range(min(LONGEST, positions - 8))]
    half = long[: len(long) // 2 + 1]
    batch = PagedDecoderBatch(paged)
    rows = [_row(text) for text in ([4, 6, 9], [*half, 7, 3], long, [*half, 5])]
    yield "a prefill", batch.prefill(rows[:3]), _token_ids(rows[:3])
    yield "a prefill that continues another", batch.prefill(rows[3:]), _token_ids(rows[3:])
    for tokens in ([5], [6], [4, 8]):
        for row in rows:
            row.output += tokens
            row.num_uncomputed_tokens = len(tokens)
        yield f"a step of {len(tokens)}", batch.decode(), _token_ids(rows)
    suffixes = [[5], [7, 3], [3]]
    continued = [rows[i].token_ids + suffix for i, suffix in zip((0, 0, 2), suffixes, strict=True)]
    yield "suffixes", batch.score_suffixes([0, 0, 2], suffixes)[:, -1], continued
    batch.retain(rows[2:], [2, 3])
    for row in rows[2:]:
        row.output.append(6)
        row.num_uncomputed_tokens = 1
    yield "a step of the remaining rows", batch.decode(), _token_ids(rows[2:])


def _row(text: list[int]) -> Sequence:
    return Sequence(Request(""), _ANY, text, text)


def _token_ids(rows: list[Sequence]) -> list[list[int]]:
    return [row.token_ids for row in rows]
