"""Which model versions made which tables and files, and how far versions agree, as the page draws it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlinfer.store import Store

_SHOWN_TARGETS = 100
_SHOWN_COMPARISONS = 5
_SHOWN_LABELS = 12


@dataclass(frozen=True, slots=True)
class WrittenTarget:
    """A table or file with answers of models.

    target: its name.
    models: the versions whose answers a job put there.
    job_id, ended: of this job.
    """

    target: str
    models: Sequence[str]
    job_id: int
    ended: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A measure from 0 to 1. run: "first" or "second" for a version with the reference, "" for both versions."""

    label: str
    value: float
    run: str = ""


@dataclass(frozen=True, slots=True)
class ColumnChart:
    """A column of a comparison.

    bars: its measures from 0 to 1.
    numbers: its other measures.
    labels: the most frequent ones.
    counts: how often a label of the first version (row) stands beside one of the second (column).
    num_hidden: rows with other labels.
    """

    column: str
    bars: Sequence[Bar]
    numbers: Sequence[tuple[str, float]]
    labels: Sequence[str]
    counts: Sequence[Sequence[int]]
    num_hidden: int


@dataclass(frozen=True, slots=True)
class ComparisonChart:
    """A comparison of two versions. result: as it is kept."""

    created: float
    result: Mapping[str, Any]
    columns: Sequence[ColumnChart]


def lineage(store: Store) -> list[WrittenTarget]:
    """The tables and files that jobs wrote, newest first; of the same versions the last job."""
    written: dict[tuple[str, ...], WrittenTarget] = {}
    for job in store.jobs.list(-1):
        for target, models in job.written.items():
            row = WrittenTarget(target, models, job.job_id, job.ended or job.started)
            written.setdefault((target, *models), row)
    return list(written.values())[:_SHOWN_TARGETS]


def charts(store: Store) -> list[ComparisonChart]:
    """The last comparisons, of each SQL and two versions the newest."""
    newest: dict[tuple[str, str, str], ComparisonChart] = {}
    for created, result in store.comparisons.list():
        of = (result["label"], result["first"]["model"], result["second"]["model"])
        columns = [_column(column, result) for column in result["columns"]]
        newest.setdefault(of, ComparisonChart(created, result, columns))
    return list(newest.values())[:_SHOWN_COMPARISONS]


def _column(column: Mapping[str, Any], result: Mapping[str, Any]) -> ColumnChart:
    agreement = column["agreement"]
    pairs = {(first, second): number for first, second, number in agreement["confusion"]}
    totals: dict[str, int] = {}
    for names, number in pairs.items():
        for name in names:
            totals[name] = totals.get(name, 0) + number
    labels = sorted(sorted(totals, key=lambda name: -totals[name])[:_SHOWN_LABELS])
    counts = [[pairs.get((first, second), 0) for second in labels] for first in labels]
    num_hidden = sum(pairs.values()) - sum(map(sum, counts))
    numbers = [(name, agreement[name]) for name in ("difference",) if agreement[name] is not None]
    return ColumnChart(column["column"], list(_bars(column, result)), numbers, labels, counts, num_hidden)


def _bars(column: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[Bar]:
    for part, name in (("agreement", "the versions agree"), ("first", ""), ("second", "")):
        agreement = column[part]
        if agreement is None:
            continue
        run = "" if part == "agreement" else part
        of = name or f"{result[part]['model']} is right"
        if agreement["equal"] is not None:
            yield Bar(of, agreement["equal"], run)
        scores = {"correlation": agreement["correlation"], **(agreement["rouge"] or {})}
        for measure, value in scores.items():
            if value is not None:
                yield Bar(measure if not run else f"{measure} of {result[part]['model']}", max(0.0, value), run)
