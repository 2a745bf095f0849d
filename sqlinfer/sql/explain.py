"""What a script would ask, without asking it: probe phase 1 and no more."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from sqlinfer.engine.pool import count_prompt_tokens
from sqlinfer.sql.counts import Counts
from sqlinfer.sql.model_statements import is_model_statement
from sqlinfer.sql.pending import Origin, Pending
from sqlinfer.sql.phases import probe, silent
from sqlinfer.sql.runtime import Runtime
from sqlinfer.sql.session import Session
from sqlinfer.sql.statement import split
from sqlinfer.types import ModelVersion, Request

_SKIPPED = {"COPY", "EXPORT", "BEGIN", "START", "COMMIT", "ROLLBACK", "ABORT", "END", "CHECKPOINT", "VACUUM", "INSTALL"}
_SAMPLE = 200
_UNKNOWN_SPEED = (200.0, 20.0)
"""Prompt and completion tokens a second of a model that was never measured here: a small model on a CPU."""
_UNKNOWN_ANSWER_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Call:
    """What one function asks one model version. prompt_tokens: counted on a sample of at most 200 requests."""

    function: str
    model: str
    requests: int
    prompt_tokens: int
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
    totals: dict[tuple[str, str], _Total] = {}
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
                    _add(totals, probed.pending)
            if not planned.is_query and planned.verb not in _SKIPPED:
                with silent(answerer):
                    session.run_directly(planned)
    finally:
        session.execute("ROLLBACK")
    calls = [_call(session.runtime, total) for total in totals.values()]
    requests, asked = answerer.counts.requests, sum(call.requests for call in calls)
    return Explanation(
        rows=rows,
        requests=requests,
        known=max(0, requests - asked),
        prompt_tokens=sum(call.prompt_tokens for call in calls),
        est_seconds=round(sum(call.est_seconds for call in calls), 3),
        measured=all(session.runtime.store.jobs.speed(t.origin.version.fingerprint) for t in totals.values()),
        calls=tuple(calls),
    )


@dataclass(slots=True)
class _Total:
    """Requests of one origin over the statements of a script; sample: some of them, characters: of all texts."""

    origin: Origin
    requests: int
    characters: int
    sample: list[Request]


def _add(totals: dict[tuple[str, str], _Total], pending: Pending) -> None:
    for _, origins in pending.by_model():
        for origin in origins:
            requests, characters = pending.measure([origin])
            every = max(1, requests // _SAMPLE)
            sample = [request for _, request in islice(pending.requests([origin], every), _SAMPLE)]
            total = totals.setdefault((origin.function.name, origin.version.fingerprint), _Total(origin, 0, 0, []))
            total.requests += requests
            total.characters += characters
            total.sample += sample


def _call(runtime: Runtime, total: _Total) -> Call:
    version, function = total.origin.version, total.origin.function
    prompt_tokens = _prompt_tokens(version, total)
    most = [request.parameters.max_tokens or _UNKNOWN_ANSWER_TOKENS for request in total.sample]
    counts_only = not any(request.is_generated for request in total.sample)
    answer_tokens = 0 if counts_only else round(total.requests * sum(most) / len(most))
    prompt_speed, answer_speed = runtime.store.jobs.speed(version.fingerprint) or _UNKNOWN_SPEED
    seconds = 0.0 if counts_only else max(prompt_tokens / prompt_speed, answer_tokens / max(answer_speed, 1e-9))
    return Call(function.name, str(version), total.requests, prompt_tokens, answer_tokens, round(seconds, 3))


def _prompt_tokens(version: ModelVersion, total: _Total) -> int:
    """Counted for the sample, scaled to all requests by the length of their texts."""
    counted = sum(count_prompt_tokens(version, total.sample))
    if len(total.sample) == total.requests:
        return counted
    characters = sum(len(request.text) for request in total.sample)
    scale = total.characters / characters if characters else total.requests / max(1, len(total.sample))
    return round(counted * scale)
