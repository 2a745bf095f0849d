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
from sqlinfer.engine.attention import paged_kernel as attention

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
SINGLE = [(1, 0), (1, 1), (1, 15), (1, 16), (1, 63), (1, 64), (1, 200)]  # tokens, and how many are before them
MANY = [(5, 0), (1, 0), (67, 0), (1, 9), (40, 77), (2, 31)]


def compare(
    feeds: list[tuple[int, int]],
    heads: tuple[int, int],
    dims: tuple[int, int],
    dtype: torch.dtype = torch.float32,
    scale: float | None = None,
) -> None:
    """Attention of feeds over slots in no order; those that are nobody's hold no numbers, and must not matter."""
    random = torch.Generator().manual_seed(sum(map(sum, feeds)))
    counts, places = np.array(feeds).T
    num_tokens, lengths = int(counts.sum()), counts + places
    order = torch.randperm(int(lengths.sum()) + 50, generator=random).int()
    table = torch.full((len(feeds) + 2, int(lengths.max()) + 3), int(order[-1]), dtype=torch.int32)
    keys, values = (torch.full((len(order), heads[1], dim), torch.nan) for dim in dims)
    lines = np.array(range(len(feeds)))[::-1] + 1
    for line, length in zip(lines, lengths, strict=True):
        own, order = order[:length], order[length:]
        table[line, :length] = own
        for states in (keys, values):
            states[own.long()] = torch.randn(len(own), *states.shape[1:], generator=random)
    query = torch.randn(heads[0], num_tokens, dims[0], generator=random).transpose(0, 1)
    rows = np.stack([counts.cumsum() - counts, counts, lines, places], axis=1)
    parts = [part.to(DEVICE, dtype) for part in (query, keys, values)]
    found = attention.attend(*parts, table.to(DEVICE), QuerySpans(rows, DEVICE), scale)
    expected = plain_attend(*(part.double() for part in parts), table.to(DEVICE), QuerySpans(rows, DEVICE), scale)
    assert found.dtype == dtype
    assert float((found - expected).norm() / expected.norm()) < TOLERANCE[dtype]


@pytest.mark.parametrize("feeds", [SINGLE, MANY, SINGLE[:1], SINGLE[-1:]], ids=["steps", "prefills", "first", "alone"])
@pytest.mark.parametrize("heads", [(2, 2), (4, 2), (6, 2), (20, 1)])
def test_heads_that_share_keys(heads: tuple[int, int], feeds: list[tuple[int, int]]) -> None:
    compare(feeds, heads, (16, 16))


@pytest.mark.parametrize("feeds", [SINGLE, MANY], ids=["steps", "prefills"])
@pytest.mark.parametrize("dims", [(24, 24), (8, 8), (48, 32)])
def test_heads_of_any_width(dims: tuple[int, int], feeds: list[tuple[int, int]]) -> None:
    compare(feeds, (2, 1), dims)


@pytest.mark.parametrize("feeds", [SINGLE, MANY], ids=["steps", "prefills"])
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
def test_half_precision(dtype: torch.dtype, feeds: list[tuple[int, int]]) -> None:
    compare(feeds, (4, 2), (16, 16), dtype, scale=0.5)


def test_keys_of_one_block_are_shared_by_programs_where_there_are_few() -> None:
    assert attention.num_splits(1, torch.device("cpu")) > 1
    assert attention.num_splits(1000, torch.device("cpu")) == 1
    compare(SINGLE * 6, (2, 2), (16, 16))


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sqlinfer.engine.attention import paged_kernel as attention

kernel = attention._attend
for capability in (80, 90):
    for dtype, itemsize in (("bf16", 2), ("fp32", 4)):
        for group, dim in ((2, 128), (7, 64)):
            for single, split in ((True, True), (True, False), (False, False)):
                tile = attention.choose_tile(group, dim, itemsize, is_single=single)
                found = "*fp32" if split else f"*{dtype}"
                kinds = [*[f"*{dtype}"] * 3, "*i32", "*i32", found, "*fp32", "fp32", "i32", "i32", "i32"]
                padded = triton.next_power_of_2(dim)
                constants = {"GROUP": group, "KEY_HEADS": 8, "HEAD": dim, "HEAD_PADDED": padded, "VALUE": dim,
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
