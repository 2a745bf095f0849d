"""What a model made of rows, and of several batches of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class RowResults:
    """What a model made of rows: values, or their texts; NULL for those that failed, and their errors by position."""

    values: pa.Array
    errors: Mapping[int, str] = field(default_factory=dict)

    def part(self, start: int, size: int) -> RowResults:
        """What it made of the rows from a position on."""
        errors = {at - start: error for at, error in self.errors.items() if start <= at < start + size}
        return RowResults(self.values[start : start + size], errors)


def joined(parts: Sequence[RowResults]) -> RowResults:
    """The results of batches, one after another."""
    starts = itertools.accumulate((len(part.values) for part in parts), initial=0)
    errors = {
        start + at: error for start, part in zip(starts, parts, strict=False) for at, error in part.errors.items()
    }
    return RowResults(pa.concat_arrays([part.values for part in parts]), errors)
