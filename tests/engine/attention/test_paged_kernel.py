"""The attention kernel is plain attention, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sqlinfer.engine.attention.query_spans import QuerySpans
from sqlinfer.engine.batch.paged_self_test import plain_attend

pytest.importorskip("triton", reason="Triton is not installed")
from sqlinfer.engine.attention import paged_kernel

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
SINGLE = [(1, 0), (1, 1), (1, 15), (1, 16), (1, 63), (1, 64), (1, 200)]  # tokens, and how many are before them
MANY = [(5, 0), (1, 0), (67, 0), (1, 9), (40, 77), (2, 31)]


def compare(
    spans: list[tuple[int, int]],
    heads: tuple[int, int],
    dims: tuple[int, int],
    dtype: torch.dtype = torch.float32,
    scale: float | None = None,
) -> None:
    """Attention of query spans over slots in random order; slots of no row hold NaN, and must not matter."""
    random = torch.Generator().manual_seed(sum(map(sum, spans)))
    counts, positions = np.array(spans).T
    num_tokens, lengths = int(counts.sum()), counts + positions
    order = torch.randperm(int(lengths.sum()) + 50, generator=random).int()
    block_table = torch.full((len(spans) + 2, int(lengths.max()) + 3), int(order[-1]), dtype=torch.int32)
    keys, values = (torch.full((len(order), heads[1], dim), torch.nan) for dim in dims)
    table_rows = np.array(range(len(spans)))[::-1] + 1
    for row, length in zip(table_rows, lengths, strict=True):
        own, order = order[:length], order[length:]
        block_table[row, :length] = own
        for states in (keys, values):
            states[own.long()] = torch.randn(len(own), *states.shape[1:], generator=random)
    query = torch.randn(heads[0], num_tokens, dims[0], generator=random).transpose(0, 1)
    span_table = np.stack([counts.cumsum() - counts, counts, table_rows, positions], axis=1)
    parts = [part.to(DEVICE, dtype) for part in (query, keys, values)]
    query_spans = QuerySpans(span_table, DEVICE)
    output = paged_kernel.attend(*parts, block_table.to(DEVICE), query_spans, scale)
    expected = plain_attend(
        *(part.double() for part in parts), block_table.to(DEVICE), QuerySpans(span_table, DEVICE), scale
    )
    assert output.dtype == dtype
    assert float((output - expected).norm() / expected.norm()) < TOLERANCE[dtype]


@pytest.mark.parametrize("spans", [SINGLE, MANY, SINGLE[:1], SINGLE[-1:]], ids=["steps", "prefills", "first", "alone"])
@pytest.mark.parametrize("heads", [(2, 2), (4, 2), (6, 2), (20, 1)])
def test_heads_that_share_keys(heads: tuple[int, int], spans: list[tuple[int, int]]) -> None:
    compare(spans, heads, (16, 16))


@pytest.mark.parametrize("spans", [SINGLE, MANY], ids=["steps", "prefills"])
@pytest.mark.parametrize("dims", [(24, 24), (8, 8), (48, 32)])
def test_heads_of_any_width(dims: tuple[int, int], spans: list[tuple[int, int]]) -> None:
    compare(spans, (2, 1), dims)


@pytest.mark.parametrize("spans", [SINGLE, MANY], ids=["steps", "prefills"])
@pytest.mark.parametrize(
    "dtype",
    [
        torch.float16,
        pytest.param(
            torch.bfloat16,
            marks=pytest.mark.skipif(DEVICE.type == "cpu", reason="Triton's interpreter multiplies no bfloat16"),
        ),
    ],
)
def test_half_precision(dtype: torch.dtype, spans: list[tuple[int, int]]) -> None:
    compare(spans, (4, 2), (16, 16), dtype, scale=0.5)


def test_keys_of_one_block_are_shared_by_programs_where_there_are_few() -> None:
    assert paged_kernel.num_splits(1, torch.device("cpu")) > 1
    assert paged_kernel.num_splits(1000, torch.device("cpu")) == 1
    compare(SINGLE * 6, (2, 2), (16, 16))


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sqlinfer.engine.attention import paged_kernel

kernel = paged_kernel._attend
for capability in (80, 90):
    for dtype, itemsize in (("bf16", 2), ("fp32", 4)):
        for group, dim in ((2, 128), (7, 64)):
            for single, split in ((True, True), (True, False), (False, False)):
                tile = paged_kernel.choose_tile(group, dim, itemsize, is_single=single)
                output = "*fp32" if split else f"*{dtype}"
                kinds = [*[f"*{dtype}"] * 3, "*i32", "*i32", output, "*fp32", "fp32", "i32", "i32", "i32"]
                padded = triton.next_power_of_2(dim)
                constants = {"GROUP": group, "KV_HEADS": 8, "HEAD": dim, "HEAD_PADDED": padded, "VALUE": dim,
                             "VALUE_PADDED": padded, "ROWS": tile.rows, "KEYS": tile.keys, "IS_SPLIT": split}
                names = kernel.arg_names
                signature = {**dict(zip(names, kinds)), **dict.fromkeys(constants, "constexpr")}
                aligned = {(i,): [["tt.divisibility", 16]] for i in (*range(7), 8, 9, 10)}
                source = ASTSource(kernel, signature, constants, aligned)
                made = triton.compile(source, target=GPUTarget("cuda", capability, 32),
                                      options={"num_warps": tile.num_warps, "num_stages": tile.num_stages})
                print(capability, dtype, group, dim, single, split, made.metadata.shared, len(made.asm["cubin"]))
"""


@pytest.mark.slow
def test_it_compiles_for_gpus_that_are_not_here(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    shared = [int(line.split()[-2]) for line in ran.stdout.splitlines()]
    assert len(shared) == 2 * 2 * 2 * 3
    assert max(shared) <= 160 << 10  # bytes of shared memory that a program of compute capability 8.0 may have
