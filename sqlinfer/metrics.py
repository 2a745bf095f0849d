"""How far two lists of values agree: labels, numbers, texts or others. Knows no SQL and no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import StatisticsError, correlation, fmean
from typing import Any, Literal

Kind = Literal["labels", "numbers", "texts", "values"]
CompareTexts = Callable[[str, str], Mapping[str, float]]
"""Scores a text against a reference, as rouge does: from 0 to 1, by name."""
MAX_LABELS = 20
MAX_LABEL_LENGTH = 64
"""Up to so many different texts, none longer than this many characters, are labels."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two lists of values agree.

    kind: of the values. Whole numbers are labels if there are few of them; texts, see MAX_LABELS.
    rows: pairs with a value on one side at least; a value beside None disagrees.
    equal: the share of these that are equal, 0..1; of labels against a reference it is the accuracy.
    correlation: Pearson's, of pairs of numbers; None if there are less than two, or if all on one side are equal.
    difference: mean absolute difference of pairs of numbers.
    rouge: mean of each score of texts; a missing text scores 0.
    confusion: how often a label of the first stands beside one of the second, most frequent first.
    """

    kind: Kind
    rows: int
    equal: float | None = None
    correlation: float | None = None
    difference: float | None = None
    rouge: Mapping[str, float] | None = None
    confusion: tuple[tuple[str, str, int], ...] = ()


def kind_of(*columns: Sequence[Any]) -> Kind:
    """What the values of some columns are.

    >>> kind_of(["yes", "no"], ["no", None]), kind_of([1, 2], [1.5, 2.0]), kind_of([["a"]])
    ('labels', 'numbers', 'values')
    """
    values = [value for column in columns for value in column if value is not None]
    types = {type(value) for value in values}
    if types & {float, Decimal} and types <= {int, float, Decimal}:
        return "numbers"
    if not types <= {str, int, bool}:
        return "values"
    labels = {str(value) for value in values}
    if len(labels) <= MAX_LABELS and all(len(label) <= MAX_LABEL_LENGTH for label in labels):
        return "labels"
    return "numbers" if types == {int} else "texts"


def agreement(first: Sequence[Any], second: Sequence[Any], compare_texts: CompareTexts) -> Agreement:
    """Compare two columns of the same rows. compare_texts: scores the first's texts against the second's."""
    pairs = [pair for pair in zip(first, second, strict=True) if pair != (None, None)]
    kind = kind_of(first, second)
    if not pairs:
        return Agreement(kind, 0)
    # a label may be a number on one side and its text on the other
    as_value = _as_text if kind in ("labels", "texts") else lambda value: value
    equal = fmean(as_value(one) == as_value(other) for one, other in pairs)
    match kind:
        case "labels":
            counts = Counter((_as_text(one), _as_text(other)) for one, other in pairs)
            confusion = tuple((*labels, count) for labels, count in counts.most_common())
            return Agreement(kind, len(pairs), equal, confusion=confusion)
        case "numbers":
            numbers = [(float(one), float(other)) for one, other in pairs if one is not None and other is not None]
            difference = fmean(abs(one - other) for one, other in numbers) if numbers else None
            return Agreement(kind, len(pairs), equal, _correlation(numbers), difference)
        case "texts":
            return Agreement(kind, len(pairs), equal, rouge=_mean_scores(pairs, compare_texts))
    return Agreement(kind, len(pairs), equal)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "NULL" if value is None else str(value)


def _correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    try:
        return correlation(*zip(*pairs, strict=True))
    except (StatisticsError, TypeError):  # all of one side are equal; or there are less than two
        return None


def _mean_scores(pairs: Sequence[tuple[Any, Any]], compare_texts: CompareTexts) -> dict[str, float]:
    scores = [
        compare_texts(_as_text(one), _as_text(other)) for one, other in pairs if one is not None and other is not None
    ]
    names = scores[0] if scores else ()
    return {name: sum(score[name] for score in scores) / len(pairs) for name in names}
