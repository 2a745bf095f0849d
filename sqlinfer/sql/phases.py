"""Probe, infer, replay: answer every question of a statement in full batches before the statement runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from sqlinfer.errors import StoppedEarly
from sqlinfer.inference.budget import Budget
from sqlinfer.inference.cost_estimate import expect
from sqlinfer.inference.keyed_request import KeyedRequest, Route
from sqlinfer.inference.pipeline import infer
from sqlinfer.inference.request_spool import RequestSpool
from sqlinfer.sql.udf.evaluator import CallEvaluator

OpenReader = Callable[[], pa.RecordBatchReader]
Choose = Callable[[Sequence[KeyedRequest]], Sequence[KeyedRequest]]


def settle(answerer: CallEvaluator, queries: Sequence[OpenReader], num_rounds: int) -> None:
    """Probe and infer in turn until a probe records nothing; the job counts the rows that the last probe saw.

    queries: what to drain in a probe; opened anew in each round. num_rounds: how often there can be more to ask, not
    counting the further steps of calls that ask in steps: only known answers lead there; past that the input changes
    from run to run (now()), and the statement asks the rest on the spot.
    """
    broken: Exception | None = None
    rows_before = answerer.counts.rows
    rounds = num_rounds + 1
    while rounds > 0:
        try:
            with probe(answerer, queries) as probed:
                if answerer.orders.choose():
                    continue  # what was recorded is asked with its columns in this order
                num_pending = probed.pending.count()
                answerer.counts.rows = rows_before + probed.num_rows
                answerer.counts.expected = answerer.counts.ended + num_pending
                answerer.check_error_threshold()
                rounds -= 0 if probed.pending.has_steps else 1
                if num_pending == 0:
                    break
                broken = probed.broken
                with answerer.turn(), answerer.counts.phase("infer"):
                    ask(answerer, probed.pending)
        except (duckdb.TransactionException, duckdb.InterruptException):
            if broken is None:
                raise
            broken.add_note("A probe of the statement, with NULL for unknown answers, broke the open transaction.")
            raise broken from None


def ask(answerer: CallEvaluator, pending: RequestSpool) -> None:
    """Ask what is pending, if it fits the job's budget."""
    runtime, asked = answerer.runtime, pending.by_model()
    settings = [runtime.settings.over(version.settings) for version, _ in asked]
    if answerer.only is None:
        expected = expect(runtime, pending, settings)
        for each in settings:
            Budget(each, answerer.counts).refuse(**expected)
    for version, origins in asked:
        for _ in infer(pending.requests(origins), answerer, version):
            pass
    answerer.check_skipped()


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found. broken: an error of the user's SQL, which may come from NULLs in place of answers."""

    pending: RequestSpool
    num_rows: int
    broken: Exception | None


@contextmanager
def probe(answerer: CallEvaluator, queries: Sequence[OpenReader], choose: Choose | None = None) -> Iterator[Probed]:
    """Run queries with unknown answers as NULL; what they ask is pending, boolean questions before all others.

    choose: those of some questions that are to be asked; None asks all.
    """
    pending = RequestSpool()
    num_rows, broken = 0, None
    try:
        with recording(answerer, _recorder(pending, answerer, choose)):
            for open_reader in queries:
                try:
                    with answerer.counts.phase("probe"):
                        num_rows += sum(batch.num_rows for batch in open_reader())
                except (duckdb.TransactionException, duckdb.InterruptException):
                    raise
                except (duckdb.Error, OSError) as error:  # in mid-stream DuckDB's errors come as OSError
                    # A NULL where an answer will be may break the user's own SQL: ask what was recorded, and
                    # let the statement itself raise what remains.
                    if answerer.cause is not None or answerer.cancel.is_set():
                        raise
                    broken = error
        pending.prefer(lambda origin: origin.function.returns == "BOOLEAN")
        yield Probed(pending, num_rows, broken)
    finally:
        pending.close()


@contextmanager
def recording(answerer: CallEvaluator, record: Callable[[Sequence[KeyedRequest]], None]) -> Iterator[None]:
    """While open, calls without an answer give NULL and go to record."""
    before, answerer.record = answerer.record, record
    try:
        yield
    finally:
        answerer.record = before


def silent(answerer: CallEvaluator) -> AbstractContextManager[None]:
    """While open, calls without an answer give NULL and nothing is recorded."""
    return recording(answerer, _forget)


def _forget(_: Sequence[KeyedRequest]) -> None:
    pass


def _check_pairs(answerer: CallEvaluator, pending: RequestSpool, origin: Route) -> None:
    """Refuse a condition over two tables that asks more than the job's settings allow."""
    most = answerer.runtime.settings.over(origin.version.settings).max_pairs
    if most is not None and pending.num_added > most:
        raise StoppedEarly(
            f"{origin.function.name} is about to be asked about more than {most:,} pairs of rows of two tables. Put a "
            f"cheap condition beside it (a.city = b.city AND ..), or allow more: --max-pairs on the command line, "
            f"SET sqlinfer_max_pairs = .. in SQL, -1 for any number. Nothing was asked"
        )


def _recorder(
    pending: RequestSpool, answerer: CallEvaluator, choose: Choose | None
) -> Callable[[Sequence[KeyedRequest]], None]:
    filters_open = False

    def record(questions: Sequence[KeyedRequest]) -> None:
        nonlocal filters_open
        if choose is not None:
            in_no_order = [question for question in questions if question.order_key]
            questions = [*in_no_order, *choose([question for question in questions if not question.order_key])]
        if not questions:
            return
        is_filter = questions[0].route.function.returns == "BOOLEAN"
        if is_filter and not filters_open:
            filters_open = True
            answerer.orders.forget()
        if is_filter or not filters_open:
            answerer.orders.note(questions)
            pending.has_steps |= any(question.step > 1 for question in questions)
            pending.add(question.request for question in questions)
            if is_filter and answerer.asks_pairs:
                _check_pairs(answerer, pending, questions[0].route)

    return record
