"""How far two lists of values agree."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from sqlinfer.metrics import MAX_LABELS, Kind, agreement, kind_of


def shared_words(text: str, reference: str) -> dict[str, float]:
    words, others = set(text.split()), set(reference.split())
    return {"shared": len(words & others) / len(words | others)}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["yes", "no", None], "labels"),
        ([True, False], "labels"),
        ([3, 4, 3], "labels"),
        (list(range(MAX_LABELS + 1)), "numbers"),
        ([1.5, 2], "numbers"),
        ([Decimal("1.5")], "numbers"),
        ([f"text {i}" for i in range(MAX_LABELS + 1)], "texts"),
        (["a word " * 20], "texts"),
        ([["a"], ["b"]], "values"),
        ([None], "labels"),
    ],
)
def test_values_are_labels_numbers_or_texts(values: list[Any], kind: Kind) -> None:
    assert kind_of(values) == kind


def test_a_value_beside_none_disagrees_and_two_nones_are_no_row() -> None:
    measured = agreement(["a", "b", None, None], ["a", None, "c", None], shared_words)
    assert (measured.rows, measured.equal) == (3, 1 / 3)
    assert set(measured.confusion) == {("a", "a", 1), ("b", "NULL", 1), ("NULL", "c", 1)}


def test_a_label_may_be_a_number_on_one_side_and_its_text_on_the_other() -> None:
    assert agreement([7, 1, True], ["7", "2", "true"], shared_words).equal == 2 / 3


def test_numbers_have_a_correlation_and_a_mean_difference() -> None:
    measured = agreement([1.0, 2.0, 3.0, None], [2.0, 4.0, 6.0, 1.0], shared_words)
    assert measured.correlation is not None
    assert math.isclose(measured.correlation, 1.0)
    assert (measured.difference, measured.equal, measured.rows) == (2.0, 0.0, 4)


@pytest.mark.parametrize(("first", "second"), [([1.5], [1.0]), ([1.5, 1.5], [1.0, 2.0]), ([1.5, None], [None, 1.0])])
def test_a_correlation_that_does_not_exist_is_none(first: list[Any], second: list[Any]) -> None:
    assert agreement(first, second, shared_words).correlation is None


def test_a_missing_text_scores_nothing() -> None:
    long = "a long text that is no label " * 3
    measured = agreement([long, None], [long, long], shared_words)
    assert (measured.kind, measured.rouge, measured.equal) == ("texts", {"shared": 0.5}, 0.5)


def test_no_rows_measure_nothing() -> None:
    assert agreement([None], [None], shared_words).equal is None
