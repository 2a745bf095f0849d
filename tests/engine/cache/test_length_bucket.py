"""Rows come to a bucket in any number at a time, and keep their keys and values."""

from __future__ import annotations

import pytest
import torch

from sqlinfer.engine.cache.length_bucket import KV, SPARE_ROWS, LengthBucket, SharedPrefix

LAYERS, HEADS, HEAD_DIM, SHARED = 2, 2, 4, 5


def kv_of(number: int, length: int) -> list[list[KV]]:
    """For each layer the keys and values of a row, in two pieces; those of the shared tokens are the same for all."""
    of_layers = []
    for layer in range(LAYERS):
        numbers = torch.arange(length) + 100.0 * number + 1e5 * layer
        numbers[:SHARED] = torch.arange(SHARED) + 1e5 * layer
        keys = numbers[None, :, None].expand(HEADS, length, HEAD_DIM).contiguous()
        of_layers.append([(keys[:, :SHARED], -keys[:, :SHARED]), (keys[:, SHARED:], -keys[:, SHARED:])])
    return of_layers


@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("groups", [(1, 3 * SPARE_ROWS), (SPARE_ROWS, 1, 2 * SPARE_ROWS + 1), (40,)])
def test_rows_keep_their_keys_and_values(groups: tuple[int, ...], is_shared: bool) -> None:
    shared = SharedPrefix(tuple(range(SHARED)), [pieces[0] for pieces in kv_of(0, SHARED + 1)])
    bucket = LengthBucket(shared if is_shared else None)
    lengths: list[int] = []
    for count in groups:
        numbers = range(len(lengths), len(lengths) + count)
        lengths += [8 + number % 20 for number in numbers]
        for number in numbers:
            bucket.add(object(), lengths[number])  # type: ignore[arg-type]
        bucket.write_rows([kv_of(number, lengths[number]) for number in numbers])
    for number, length in enumerate(lengths):
        for layer, pieces in enumerate(kv_of(number, length)):
            expected = [torch.cat(part, dim=1) for part in zip(*pieces, strict=True)]
            assert all(map(torch.equal, bucket.view(layer, length, number), expected))
