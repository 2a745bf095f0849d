"""Attention over keys and values that lie in slots of a paged cache; a table says in which slot each token is.

One kernel for prefills and for decode steps: a program takes a block of tokens that follow each other on one line of
the table, and the query heads that share one head of keys. Where that makes too few programs to keep the GPU busy,
several share the keys of a block, and their results are put together afterwards. Knows no model and no sequences.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from sqlinfer.engine.attention.query_spans import QuerySpans

MOST_SPLITS = 16
PROGRAMS_A_PROCESSOR = 2
INTERPRETED_PROCESSORS = 8  # as if, so that tests see both split and whole keys
LN_2 = 0.6931471805599453


@dataclass(frozen=True, slots=True)
class Tile:
    """What one program works on at a time. rows: tokens times the heads that share keys. keys: slots."""

    rows: int
    keys: int
    num_warps: int
    num_stages: int


def choose_tile(group: int, head_dim: int, itemsize: int, *, is_single: bool) -> Tile:
    """The tile for feeds of one token each, or of many; group: query heads to a head of keys."""
    least = max(16, triton.next_power_of_2(group))  # a matrix product of a GPU has 16 rows or more
    wide = itemsize > 2 or head_dim > 128
    if is_single:
        return Tile(least, 16 if wide else 64, 4, 2)
    return Tile(max(least, 32), 16, 4, 2) if wide else Tile(max(least, 128), 64, 8, 2)


@torch.inference_mode()
def attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    table: torch.Tensor,
    feeds: QuerySpans,
    scale: float | None,
) -> torch.Tensor:
    """(tokens, heads, value_dim): each token of feeds sees those before it on its line, and itself.

    query: (tokens, heads, head_dim). keys, values: (slots, key_heads, dim). table: slots (lines, places), int32.
    """
    num_tokens, num_heads, head_dim = query.shape
    _, key_heads, value_dim = values.shape
    group = num_heads // key_heads
    query = query if query.stride(-1) == 1 else query.contiguous()
    tile = choose_tile(group, head_dim, query.itemsize, is_single=feeds.is_single)
    blocks = feeds.blocks(tile.rows // group)  # (blocks, 4)
    splits = num_splits(len(blocks) * key_heads, query.device) if feeds.is_single else 1
    shape = (num_tokens, splits, num_heads, value_dim)
    found = torch.empty(shape, device=query.device, dtype=query.dtype if splits == 1 else torch.float32)
    sums = torch.empty(shape[:3], device=query.device, dtype=torch.float32)
    with torch.cuda.device_of(query):  # type: ignore[no-untyped-call]
        _attend[(len(blocks), key_heads, splits)](
            query,
            keys,
            values,
            table,
            blocks,
            found,
            sums,
            (scale or head_dim**-0.5) / LN_2,
            query.stride(0),
            query.stride(1),
            table.stride(0),
            GROUP=group,
            KEY_HEADS=key_heads,
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
    if splits == 1:
        return found[:, 0]
    weights = (sums * LN_2).softmax(dim=1)
    return (found * weights[..., None]).sum(dim=1).to(query.dtype)


def num_splits(num_programs: int, device: torch.device) -> int:
    """How many programs share the keys of a block, so that there are enough for the device."""
    processors = INTERPRETED_PROCESSORS
    if device.type == "cuda":
        processors = torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, min(MOST_SPLITS, PROGRAMS_A_PROCESSOR * processors // num_programs))


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]  # Triton would look other annotations up
    query,
    keys,
    values,
    table,
    blocks,
    found,  # (tokens, splits, heads, value_dim)
    sums,  # (tokens, splits, heads): logarithms, to the base of 2, of the sums of weights
    scale,
    query_token,
    query_head,
    table_line,
    GROUP: tl.constexpr,
    KEY_HEADS: tl.constexpr,
    HEAD: tl.constexpr,
    HEAD_PADDED: tl.constexpr,
    VALUE: tl.constexpr,
    VALUE_PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    IS_SPLIT: tl.constexpr,
):
    block, key_head, part, parts = tl.program_id(0), tl.program_id(1), tl.program_id(2), tl.num_programs(2)
    start = tl.load(blocks + block * 4)
    count = tl.load(blocks + block * 4 + 1)
    line = tl.load(blocks + block * 4 + 2)
    place = tl.load(blocks + block * 4 + 3)

    row = tl.arange(0, ROWS)
    nth = row // GROUP  # token of the block
    is_row = nth < count
    token = (start + nth).to(tl.int64)
    head = key_head * GROUP + row % GROUP
    dim = tl.arange(0, HEAD_PADDED)
    value_dim = tl.arange(0, VALUE_PADDED)
    asked = tl.load(
        query + token[:, None] * query_token + head[:, None] * query_head + dim[None, :],
        mask=is_row[:, None] & (dim < HEAD)[None, :],
        other=0.0,
    )  # (ROWS, HEAD_PADDED)

    end = place + count
    share = tl.cdiv(tl.cdiv(end, KEYS), parts) * KEYS
    first = part * share
    last = tl.minimum(first + share, end)
    most = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    mixed = tl.zeros([ROWS, VALUE_PADDED], tl.float32)
    slots_of_line = table + line.to(tl.int64) * table_line
    for at in range(first, last, KEYS):
        seen = at + tl.arange(0, KEYS)
        is_key = seen < last
        slot = tl.load(slots_of_line + seen, mask=is_key, other=0).to(tl.int64) * KEY_HEADS + key_head
        key = tl.load(
            keys + slot[None, :] * HEAD + dim[:, None],
            mask=is_key[None, :] & (dim < HEAD)[:, None],
            other=0.0,
        )  # (HEAD_PADDED, KEYS)
        score = tl.dot(asked, key, input_precision="ieee") * scale
        sees = is_key[None, :] & (seen[None, :] <= place + nth[:, None])
        score = tl.where(sees, score, float("-inf"))
        higher = tl.maximum(most, tl.max(score, 1))
        base = tl.where(higher == float("-inf"), 0.0, higher)  # of a row that has seen nothing yet
        weight = tl.exp2(score - base[:, None])
        kept = tl.exp2(most - base)
        value = tl.load(
            values + slot[:, None] * VALUE + value_dim[None, :],
            mask=is_key[:, None] & (value_dim < VALUE)[None, :],
            other=0.0,
        )  # (KEYS, VALUE_PADDED)
        total = total * kept + tl.sum(weight, 1)
        mixed = mixed * kept[:, None] + tl.dot(weight.to(value.dtype), value, input_precision="ieee")
        most = higher

    total = tl.where(total == 0.0, 1.0, total)  # of a share without keys, whose logarithm is that of most, -inf
    mixed = mixed / total[:, None]
    target = (token * parts + part) * (KEY_HEADS * GROUP) + head
    tl.store(
        found + target[:, None] * VALUE + value_dim[None, :],
        mixed.to(found.dtype.element_ty),
        mask=is_row[:, None] & (value_dim < VALUE)[None, :],
    )
    if IS_SPLIT:
        tl.store(sums + target, most + tl.log2(total), mask=is_row)
