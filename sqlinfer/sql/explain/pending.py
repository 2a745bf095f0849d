"""The requests of scripts that have no answer yet, recorded without asking a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from sqlinfer.inference.pipeline import infer
from sqlinfer.inference.request_spool import RequestSpool
from sqlinfer.sql.explain.explain import run_without_output
from sqlinfer.sql.parsing.split_statements import split_statements
from sqlinfer.sql.phases import OpenReader, probe
from sqlinfer.sql.plan import AiStatement, SetCommand
from sqlinfer.sql.session import Session
from sqlinfer.sql.udf.evaluator import CallEvaluator


@dataclass(frozen=True, slots=True)
class PendingRequests:
    """What scripts would ask next.

    spool: the distinct requests.
    num_refused: rows that cannot have a request.
    leads_further: whether their answers may lead to further requests.
    """

    spool: RequestSpool
    num_refused: int
    leads_further: bool


@contextmanager
def pending_requests(session: Session, scripts: Mapping[str, str]) -> Iterator[PendingRequests]:
    """Record what scripts, by name, would ask next. Their statements run in a transaction that is rolled back, with
    NULL for unknown answers; texts are cut and tokens counted, which needs no model."""
    with closing(RequestSpool()) as spool:
        num_refused, leads_further = 0, False
        session.execute("BEGIN")
        try:
            for text in scripts.values():
                for statement in split_statements(text):
                    refused, further = _record(session, statement, spool)
                    num_refused, leads_further = num_refused + refused, leads_further or further
        finally:
            session.execute("ROLLBACK")
        yield PendingRequests(spool, num_refused, leads_further)


def _record(session: Session, text: str, spool: RequestSpool) -> tuple[int, bool]:
    """Record those of one statement: how many rows it refuses, and whether there may be further requests."""
    evaluator, statement = session.evaluator, session.statements.plan(text)
    num_refused, leads_further = 0, False
    evaluator.begin_statement()
    if isinstance(statement, SetCommand):
        session.statements.run(statement)
    if isinstance(statement, AiStatement) and statement.stages[0]:
        statement = session.statements.bind(statement)
        for number, queries in enumerate(session.statements.stages(statement), start=1):
            num_refused, num_requests, has_steps = _record_stage(evaluator, queries, statement.num_rounds, spool)
            if num_requests:
                leads_further = has_steps or statement.num_rounds > 1 or number < len(statement.stages)
                break
    run_without_output(session, statement)
    return num_refused, leads_further


def _record_stage(
    evaluator: CallEvaluator, queries: Sequence[OpenReader], num_rounds: int, spool: RequestSpool
) -> tuple[int, int, bool]:
    """Probe until all that is open needs a model. Rows refused, requests recorded, whether a call of them has steps."""
    while True:
        with probe(evaluator, queries) as probed:
            if evaluator.statement.orders.choose():
                continue
            num_requests = probed.spool.count()
            if num_requests > probed.spool.count_for_models():
                _answer_without_weights(evaluator, probed.spool)
                continue
            routes = [route for _, routes in probed.spool.by_model() for route in routes]
            spool.add(probed.spool.requests(routes))
            num_refused = len(probed.certain_refusals(num_rounds)) + len(evaluator.statement.failures)
            return num_refused, num_requests, any(route.function.is_in_steps for route in routes)


def _answer_without_weights(evaluator: CallEvaluator, spool: RequestSpool) -> None:
    """Compute what a tokenizer answers, or an estimate."""
    job = evaluator.job
    with job.inference():
        for version, routes in spool.by_model():
            if any(not request.needs_weights for request in spool.requests(routes)):
                requests = (request for request in spool.requests(routes) if not request.needs_weights)
                for _ in infer(requests, job, version, evaluator.statement.failures):
                    pass
