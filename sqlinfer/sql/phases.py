"""Probe, infer, replay: answer every question of a statement in full batches before the statement runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from sqlinfer.sql.answerer import Answerer
from sqlinfer.sql.pending import Pending
from sqlinfer.sql.questions import Question

OpenReader = Callable[[], pa.RecordBatchReader]


def settle(answerer: Answerer, queries: Sequence[OpenReader]) -> int:
    """Probe and infer in turn until a probe records nothing; the rows that the last probe saw.

    queries: what to drain in a probe; opened anew in each round.
    """
    while True:
        with probe(answerer, queries) as (pending, num_rows):
            if pending.count() == 0:
                return num_rows
            answerer.counts.expected = pending.count() + answerer.counts.generated + answerer.counts.failed
            for version, origins in pending.by_model():
                for _ in answerer.infer(version, pending.requests(origins)):
                    pass


@contextmanager
def probe(answerer: Answerer, queries: Sequence[OpenReader]) -> Iterator[tuple[Pending, int]]:
    """Run queries with unknown answers as NULL; what they ask is pending, boolean questions before all others."""
    pending = Pending()
    try:
        num_rows = 0
        with recording(answerer, _recorder(pending)):
            for open_reader in queries:
                try:
                    num_rows += sum(batch.num_rows for batch in open_reader())
                except duckdb.Error:
                    # A NULL where an answer will be may break the user's own SQL: ask what was recorded, and
                    # let the statement itself raise what remains.
                    if answerer.cause is not None or not _is_usable(open_reader):
                        raise
        pending.prefer(lambda origin: origin.function.returns == "BOOLEAN")
        yield pending, num_rows
    finally:
        pending.close()


@contextmanager
def recording(answerer: Answerer, record: Callable[[Sequence[Question]], None]) -> Iterator[None]:
    """While open, calls without an answer give NULL and go to record."""
    before, answerer.record = answerer.record, record
    try:
        yield
    finally:
        answerer.record = before


def _recorder(pending: Pending) -> Callable[[Sequence[Question]], None]:
    filters_open = False

    def record(questions: Sequence[Question]) -> None:
        nonlocal filters_open
        if not questions:
            return
        is_filter = questions[0].origin.function.returns == "BOOLEAN"
        filters_open = filters_open or is_filter
        if is_filter or not filters_open:
            pending.add((question.origin, question.request) for question in questions)

    return record
