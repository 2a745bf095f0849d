"""Attention over a paged KV cache; the block table says in which slot each token's keys and values are.

One kernel for prefill and for decode: a program takes a block of consecutive tokens of one block table row, and the
query heads that share one KV head, with an online softmax as in FlashAttention. Where that makes too few programs to
keep the GPU busy, several share the keys of a block (split-K, or flash-decoding: Dao et al. 2023) and their partial
results are merged afterwards. Knows no model and no sequences.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from sqlinfer.engine.attention.query_spans import QuerySpans

MAX_SPLITS = 16
PROGRAMS_A_PROCESSOR = 2
INTERPRETED_PROCESSORS = 8  # pretended, so that tests see both split and whole keys
LN_2 = 0.6931471805599453


@dataclass(frozen=True, slots=True)
class Tile:
    """What one program works on at a time.

    rows: tokens times the query heads of one KV head.
    keys: slots.
    num_warps, num_stages: launch options of Triton.
    """

    rows: int
    keys: int
    num_warps: int
    num_stages: int


def choose_tile(group: int, head_dim: int, itemsize: int, *, is_single: bool) -> Tile:
    """The tile for query spans of one token each, or of many; group: query heads of one KV head."""
    min_rows = max(16, triton.next_power_of_2(group))  # tensor cores multiply 16 rows or more
    is_wide = itemsize > 2 or head_dim > 128
    if is_single:
        return Tile(min_rows, 16 if is_wide else 64, 4, 2)
    return Tile(max(min_rows, 32), 16, 4, 2) if is_wide else Tile(max(min_rows, 128), 64, 8, 2)


@torch.inference_mode()
def attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    block_table: torch.Tensor,
    spans: QuerySpans,
    scale: float | None,
) -> torch.Tensor:
    """(tokens, heads, value_dim): each token of the spans attends to its row's tokens up to itself.

    query: (tokens, heads, head_dim). keys, values: (slots, kv_heads, dim). block_table: slots (rows, positions), int32.
    """
    num_tokens, num_heads, head_dim = query.shape
    _, kv_heads, value_dim = values.shape
    group = num_heads // kv_heads
    query = query if query.stride(-1) == 1 else query.contiguous()
    tile = choose_tile(group, head_dim, query.itemsize, is_single=spans.is_single)
    blocks = spans.blocks(tile.rows // group)  # (blocks, 4)
    splits = num_splits(len(blocks) * kv_heads, query.device) if spans.is_single else 1
    shape = (num_tokens, splits, num_heads, value_dim)
    output = torch.empty(shape, device=query.device, dtype=query.dtype if splits == 1 else torch.float32)
    lse = torch.empty(shape[:3], device=query.device, dtype=torch.float32)
    with torch.cuda.device_of(query):  # type: ignore[no-untyped-call]
        _attend[(len(blocks), kv_heads, splits)](
            query,
            keys,
            values,
            block_table,
            blocks,
            output,
            lse,
            (scale or head_dim**-0.5) / LN_2,
            query.stride(0),
            query.stride(1),
            block_table.stride(0),
            GROUP=group,
            KV_HEADS=kv_heads,
            HEAD=head_dim,
            HEAD_PADDED=max(16, triton.next_power_of_2(head_dim)),
            VALUE=value_dim,
            VALUE_PADDED=max(16, triton.next_power_of_2(value_dim)),
            ROWS=tile.rows,
            KEYS=tile.keys,
            IS_SPLIT=splits > 1,
            num_warps=tile.num_warps,
            num_stages=tile.num_stages,
        )
    return output[:, 0] if splits == 1 else _merge_splits(output, lse).to(query.dtype)


def _merge_splits(output: torch.Tensor, lse: torch.Tensor) -> torch.Tensor:
    """(tokens, heads, value_dim) from the outputs of splits and the base-2 logarithms of their sums of weights."""
    weights = (lse * LN_2).softmax(dim=1)
    return (output * weights[..., None]).sum(dim=1)


def num_splits(num_programs: int, device: torch.device) -> int:
    """How many programs share the keys of a block, so that there are enough for the device."""
    processors = INTERPRETED_PROCESSORS
    if device.type == "cuda":
        processors = torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, min(MAX_SPLITS, PROGRAMS_A_PROCESSOR * processors // num_programs))


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]  # Triton would look other annotations up
    query,
    keys,
    values,
    block_table,
    blocks,
    output,  # (tokens, splits, heads, value_dim)
    lse,  # (tokens, splits, heads): base-2 logarithms of the sums of weights
    scale,
    query_stride_token,
    query_stride_head,
    table_stride,
    GROUP: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD: tl.constexpr,
    HEAD_PADDED: tl.constexpr,
    VALUE: tl.constexpr,
    VALUE_PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    IS_SPLIT: tl.constexpr,
):
    block, kv_head, split, splits = tl.program_id(0), tl.program_id(1), tl.program_id(2), tl.num_programs(2)
    start = tl.load(blocks + block * 4)
    count = tl.load(blocks + block * 4 + 1)
    table_row = tl.load(blocks + block * 4 + 2)
    position = tl.load(blocks + block * 4 + 3)

    row = tl.arange(0, ROWS)
    nth = row // GROUP  # token of the block
    is_row = nth < count
    token = (start + nth).to(tl.int64)
    head = kv_head * GROUP + row % GROUP
    query_row = query + token * query_stride_token + head * query_stride_head
    tile = _load_tile(query_row[:, None], is_row[:, None], tl.arange(0, HEAD_PADDED)[None, :], HEAD)

    end = position + count
    share = tl.cdiv(tl.cdiv(end, KEYS), splits) * KEYS
    first = split * share
    last = tl.minimum(first + share, end)
    highest = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    weighted = tl.zeros([ROWS, VALUE_PADDED], tl.float32)
    slots = block_table + table_row.to(tl.int64) * table_stride
    for at in range(first, last, KEYS):
        key_position = at + tl.arange(0, KEYS)
        is_key = key_position < last
        slot = tl.load(slots + key_position, mask=is_key, other=0).to(tl.int64) * KV_HEADS + kv_head
        key = _load_tile((keys + slot * HEAD)[None, :], is_key[None, :], tl.arange(0, HEAD_PADDED)[:, None], HEAD)
        score = tl.dot(tile, key, input_precision="ieee") * scale
        is_visible = is_key[None, :] & (key_position[None, :] <= position + nth[:, None])
        score = tl.where(is_visible, score, float("-inf"))
        value = _load_tile(
            (values + slot * VALUE)[:, None], is_key[:, None], tl.arange(0, VALUE_PADDED)[None, :], VALUE
        )
        highest, total, weighted = _update_softmax(score, value, highest, total, weighted)

    total = tl.where(total == 0.0, 1.0, total)  # of a split without keys, whose logarithm is that of highest, -inf
    weighted = weighted / total[:, None]
    target = (token * splits + split) * (KV_HEADS * GROUP) + head
    value_dim = tl.arange(0, VALUE_PADDED)
    tl.store(
        output + target[:, None] * VALUE + value_dim[None, :],
        weighted.to(output.dtype.element_ty),
        mask=is_row[:, None] & (value_dim < VALUE)[None, :],
    )
    if IS_SPLIT:
        tl.store(lse + target, highest + tl.log2(total), mask=is_row)


@triton.jit  # type: ignore[untyped-decorator]
def _load_tile(pointer, is_valid, dim, DIM: tl.constexpr):  # type: ignore[no-untyped-def]
    """The vectors of DIM numbers at pointers, padded with zeros to as many as dim has."""
    return tl.load(pointer + dim, mask=is_valid & (dim < DIM), other=0.0)


@triton.jit
def _update_softmax(score, value, highest, total, weighted):  # type: ignore[no-untyped-def]
    """One step of an online softmax (base 2): the highest score so far, and the sums of weights and of weighted values.

    score: (ROWS, KEYS). value: (KEYS, VALUE_PADDED).
    """
    higher = tl.maximum(highest, tl.max(score, 1))
    base = tl.where(higher == float("-inf"), 0.0, higher)  # of a row that has attended to nothing yet
    weight = tl.exp2(score - base[:, None])
    rescale = tl.exp2(highest - base)
    total = total * rescale + tl.sum(weight, 1)
    weighted = weighted * rescale[:, None] + tl.dot(weight.to(value.dtype), value, input_precision="ieee")
    return higher, total, weighted
