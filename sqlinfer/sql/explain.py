"""What a script would ask, without asking it: probe phase 1 and no more."""

from __future__ import annotations

from dataclasses import dataclass

from sqlinfer.sql.counts import Counts
from sqlinfer.sql.estimate import Estimate, Sample, estimate, samples
from sqlinfer.sql.model_statements import is_model_statement
from sqlinfer.sql.phases import probe, silent
from sqlinfer.sql.session import Session
from sqlinfer.sql.statement import split

_SKIPPED = {"COPY", "EXPORT", "BEGIN", "START", "COMMIT", "ROLLBACK", "ABORT", "END", "CHECKPOINT", "VACUUM", "INSTALL"}


@dataclass(frozen=True, slots=True)
class Call:
    """What one function asks one model version. prompt_tokens: counted on a sample of at most 200 requests of each
    statement, give or take prompt_tokens_error."""

    function: str
    model: str
    requests: int
    prompt_tokens: int
    prompt_tokens_error: int
    max_completion_tokens: int
    est_seconds: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a script would ask. requests: distinct ones; known: those with an answer already. measured: whether
    est_seconds comes from the model's speed in earlier jobs here, or from a guess."""

    rows: int
    requests: int
    known: int
    prompt_tokens: int
    est_seconds: float
    measured: bool
    calls: tuple[Call, ...]


def explain(session: Session, sql: str) -> Explanation:
    """Count what a script would ask. Its statements run in a transaction that is rolled back, with unknown answers
    as NULL, so that later statements find the tables of earlier ones; nothing is asked and no file is written."""
    answerer = session.answerer
    answerer.new_statement()
    answerer.counts = Counts()
    totals: dict[tuple[str, str], Sample] = {}
    rows = 0
    session.execute("BEGIN")
    try:
        for statement in split(sql):
            if is_model_statement(statement):
                continue
            planned = session.plan(statement)
            if planned.is_ai and planned.queries:
                session.validate(planned)
                with probe(answerer, session.readers(planned)) as probed:
                    rows += probed.num_rows
                    for sample in samples(probed.pending):
                        key = sample.origin.function.name, sample.origin.version.fingerprint
                        if key in totals:
                            totals[key].add(sample)
                        else:
                            totals[key] = sample
            if not planned.is_query and planned.verb not in _SKIPPED:
                with silent(answerer):
                    session.run_directly(planned)
    finally:
        session.execute("ROLLBACK")
    costs = {key: estimate(session.runtime, total) for key, total in totals.items()}
    calls = [_call(total, costs[key]) for key, total in totals.items()]
    requests, asked = answerer.counts.requests, sum(call.requests for call in calls)
    return Explanation(
        rows=rows,
        requests=requests,
        known=max(0, requests - asked),
        prompt_tokens=sum(call.prompt_tokens for call in calls),
        est_seconds=round(sum(call.est_seconds for call in calls), 3),
        measured=all(cost.is_measured for cost in costs.values()),
        calls=tuple(calls),
    )


def _call(total: Sample, cost: Estimate) -> Call:
    return Call(
        function=total.origin.function.name,
        model=str(total.origin.version),
        requests=total.requests,
        prompt_tokens=cost.prompt_tokens,
        prompt_tokens_error=cost.prompt_tokens_error,
        max_completion_tokens=cost.completion_tokens,
        est_seconds=round(cost.seconds, 3),
    )
