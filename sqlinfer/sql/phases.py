"""Probe, infer, replay: compute every answer of a statement in full batches before the statement runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from sqlinfer.inference.budget import Budget
from sqlinfer.inference.cost_estimate import expect
from sqlinfer.inference.failures import Failure, Failures
from sqlinfer.inference.job import Job
from sqlinfer.inference.keyed_request import KeyedRequest
from sqlinfer.inference.pipeline import infer
from sqlinfer.inference.request_spool import RequestSpool
from sqlinfer.sql.udf.cache_misses import Null, OnMiss
from sqlinfer.sql.udf.evaluator import CallEvaluator

_log = logging.getLogger(__name__)
OpenReader = Callable[[], pa.RecordBatchReader]
Stages = Sequence[Sequence[OpenReader]]
"""What the probes of a statement drain, opened anew in each probe: the next stage when one finds no request."""
ChooseRequests = Callable[[Sequence[KeyedRequest]], Sequence[KeyedRequest]]


def prefetch_answers(evaluator: CallEvaluator, stages: Stages, num_rounds: int) -> None:
    """Probe and infer in turn until a probe records nothing; the job counts the rows that the last probe saw.

    num_rounds: how often there can be further requests, not counting the later steps of calls in steps: only cached
    answers lead there; past that the input changes from run to run (now()), and the statement computes the rest as it
    runs.
    """
    job, statement = evaluator.job, evaluator.statement
    rows_before = job.counts.rows
    broken: Exception | None = None
    for queries in stages:
        rounds = num_rounds + 1
        while rounds > 0:
            try:
                with probe(evaluator, queries) as probed:
                    if statement.orders.choose():
                        continue  # what was recorded is computed with its fields in this order
                    num_missing = probed.spool.count()
                    if queries is stages[-1]:
                        probed.note_refused(job, statement.failures, num_rounds)
                    num_for_models = probed.spool.count_for_models()
                    job.counts.note_probe(rows_before + probed.num_rows, num_for_models, num_missing - num_for_models)
                    job.check_error_threshold(statement.failures)
                    rounds -= 0 if probed.spool.has_steps else 1
                    if num_missing == 0:
                        if probed.broken is not None and queries is stages[-1]:
                            _log.warning("What a probe did not reach is computed chunk by chunk: %s", probed.broken)
                        break
                    broken = probed.broken
                    compute(evaluator, probed.spool)
            except (duckdb.TransactionException, duckdb.InterruptException):
                if broken is None:
                    raise
                broken.add_note("A probe of the statement, with NULL for unknown answers, broke the open transaction.")
                raise broken from None


def compute(evaluator: CallEvaluator, spool: RequestSpool) -> None:
    """Compute what is spooled, if it fits the job's budget."""
    job = evaluator.job
    with job.inference():
        models = spool.by_model()
        settings = [job.runtime.settings.over(version.settings) for version, _ in models]
        if job.only is None:
            expected = expect(job.runtime, spool, settings)
            for each in settings:
                Budget(each, job.counts).refuse(**expected)
        for version, routes in models:
            for _ in infer(spool.requests(routes), job, version, evaluator.statement.failures):
                pass


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe recorded."""

    spool: RequestSpool
    """The requests without an answer."""
    num_rows: int
    """That the queries gave."""
    refused: Failures
    """Rows without a request, by their keys."""
    broken: Exception | None
    """An error of the user's SQL, which may come from NULLs in place of answers."""

    def certain_refusals(self, num_rounds: int) -> Failures:
        """Those of the refused rows that no NULL in place of an answer can have made. num_rounds: see above."""
        return self.refused if num_rounds < 2 or self.spool.count() == 0 else {}

    def note_refused(self, job: Job, failures: Failures, num_rounds: int) -> None:
        """Add what is certain to the failures of the statement."""
        for key, failure in self.certain_refusals(num_rounds).items():
            job.note_failure(key, failure, failures, "refused")


@contextmanager
def probe(
    evaluator: CallEvaluator, queries: Sequence[OpenReader], choose: ChooseRequests | None = None
) -> Iterator[Probed]:
    """Run queries with unknown answers as NULL; their requests are spooled, boolean ones before all others.

    choose: those of some requests that are to be spooled; None takes all.
    """
    spool = RequestSpool()
    num_rows, broken = 0, None
    try:
        record = Record(evaluator, spool, choose)
        with evaluator.using(on_miss=record):
            for open_reader in queries:
                try:
                    with evaluator.job.counts.phase("probe"):
                        num_rows += sum(batch.num_rows for batch in open_reader())
                except (duckdb.TransactionException, duckdb.InterruptException):
                    raise
                except (duckdb.Error, OSError) as error:  # in mid-stream DuckDB's errors come as OSError
                    # A NULL where an answer will be may break the user's own SQL: compute what was recorded, and
                    # let the statement itself raise what remains.
                    if evaluator.statement.cause is not None or evaluator.runner.cancel.is_set():
                        raise
                    broken = error
        spool.prefer(lambda route: route.function.returns == "BOOLEAN")
        yield Probed(spool, num_rows, record.refused, broken)
    finally:
        spool.close()


def probe_only(evaluator: CallEvaluator) -> AbstractContextManager[None]:
    """While open, calls without an answer give NULL and nothing is recorded."""
    return evaluator.using(on_miss=Null())


class Record(OnMiss):
    """Spools the requests of one probe: once there are boolean ones, those alone.

    choose: those of some requests that are to be spooled; None takes all.
    """

    def __init__(self, evaluator: CallEvaluator, spool: RequestSpool, choose: ChooseRequests | None) -> None:
        self.refused: Failures = {}
        self._orders = evaluator.statement.orders
        self._spool = spool
        self._choose = choose
        self._has_filters = False

    def refuse(self, key: bytes, failure: Failure, /) -> None:
        """Note a row of one call."""
        self.refused[key] = failure

    def handle(self, requests: Sequence[KeyedRequest], _: Failures, /) -> None:
        """Spool requests of one call."""
        if self._choose is not None:
            unordered = [request for request in requests if request.order_key]
            requests = [*unordered, *self._choose([request for request in requests if not request.order_key])]
        if not requests:
            return
        is_filter = requests[0].route.function.returns == "BOOLEAN"
        if is_filter and not self._has_filters:
            self._has_filters = True
            self._orders.forget()
        if is_filter or not self._has_filters:
            self._orders.note(requests)
            has_steps = any(request.step > 1 for request in requests)
            self._spool.add((request.request for request in requests), has_steps)
