"""KV tensors grow in place up to their capacity, and beyond by a copy; what they hold is the same."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import pad

from sqlinfer.engine.cache.growable_tensor import SPARE_SLOTS, add_rows, append, reorder

SHAPE = (3, 2, 5, 4)  # rows, heads, slots, head_dim


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape)


def is_in(part: torch.Tensor, whole: torch.Tensor) -> bool:
    return part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()


@pytest.mark.parametrize(
    "tensor",
    [
        random(*SHAPE),
        random(3, 5, 2, 4).transpose(1, 2),  # as a model's layers give it
        random(6, 2, 9, 4)[1:4, :, 2:7],
        random(1, 1, 1, 4).expand(3, 2, 5, 4),
        random(1, 2, 5, 4),
    ],
    ids=["plain", "transposed", "cut", "expanded", "one row"],
)
def test_slots_are_appended(tensor: torch.Tensor) -> None:
    expected, grown = tensor.clone(), tensor
    for count in (1, 3, SPARE_SLOTS, 1, 1):
        new = random(len(tensor), 2, count, 4)
        expected, grown = torch.cat([expected, new], dim=2), append(grown, new)
        assert torch.equal(grown, expected)


def test_a_slot_is_written_in_place_up_to_the_capacity() -> None:
    first = append(random(*SHAPE), random(3, 2, 1, 4))
    second = append(first, random(3, 2, 1, 4))
    assert is_in(second, first)
    trimmed = append(second[:2, :, 3:], random(2, 2, 1, 4))
    assert is_in(trimmed, first)
    assert trimmed.shape == (2, 2, 5, 4)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("slots", [2, 5, 8])
def test_rows_are_added_and_the_shorter_ones_padded(slots: int, left: bool) -> None:
    expected = grown = random(*SHAPE)
    for count in (2, 1, 4):
        new = random(count, 2, slots, 4)
        width = max(expected.shape[2], slots)
        both = [pad(s, (0, 0, n, 0) if left else (0, 0, 0, n)) for s in (expected, new) for n in [width - s.shape[2]]]
        expected, grown = torch.cat(both), add_rows(grown, new, left=left)
        assert torch.equal(grown, expected)


def test_rows_take_the_places_of_those_that_left() -> None:
    full = add_rows(random(*SHAPE), random(2, 2, 5, 4), left=True)
    kept = full[:2]
    again = add_rows(kept, random(3, 2, 4, 4), left=True)
    assert is_in(again, full)
    assert not is_in(add_rows(random(*SHAPE), random(1, 2, 5, 4), left=True), full)


@pytest.mark.parametrize("index", [[2, 0, 0], [1], [0, 1, 2]])
def test_rows_are_put_into_another_order_in_place(index: list[int]) -> None:
    tensor = append(random(*SHAPE), random(3, 2, 1, 4))
    expected = tensor[index]
    grown = reorder(tensor, torch.tensor(index))
    assert torch.equal(grown, expected)
    assert is_in(append(grown, random(len(index), 2, 1, 4)), tensor)
