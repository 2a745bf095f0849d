"""A few requests of each AI call of scripts: computed, and shown with prompt, raw answer and value side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlinfer.backends import backend_of
from sqlinfer.functions import Function
from sqlinfer.inference.call_stats import CallKey
from sqlinfer.inference.keyed_request import KeyedRequest
from sqlinfer.sql.explain.explain import plan_numbered, run_without_output
from sqlinfer.sql.parsing.split_statements import split_statements
from sqlinfer.sql.phases import OpenReader, compute, probe
from sqlinfer.sql.plan import AiStatement, SetCommand
from sqlinfer.sql.rewrite.number_call_sites import call_sites
from sqlinfer.sql.session import Session
from sqlinfer.sql.udf.call import Call
from sqlinfer.store.outputs import encode


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One request.

    call: as it is written.
    model: the version that it goes to.
    prompt: as the model reads it.
    answer: as the model wrote it; None if it gave none.
    value: that the call has in SQL.
    error: why there is none.
    """

    call: str
    model: str
    prompt: str
    answer: str | None
    value: Any
    error: str | None = None


class _Trace:
    """The requests of one statement that may be computed, num_rows of each call and all steps of those."""

    def __init__(self, num_rows: int) -> None:
        self.chosen: dict[bytes, KeyedRequest] = {}
        self.answers: dict[bytes, str] = {}
        self.calls: dict[bytes, Call] = {}
        self._num_rows = num_rows
        self._counts: Counter[CallKey] = Counter()

    def choose(self, requests: Sequence[KeyedRequest]) -> list[KeyedRequest]:
        """Those of some requests that may be computed."""
        followed = {request.key for call in self.calls.values() for request in call.requests}
        return [r for r in requests if r.key in self.chosen or self._take(r, r.key in followed)]

    def read(self, call: Call, outputs: Mapping[bytes, Any]) -> None:
        """Note what a call is about to read."""
        for request in self.choose(call.requests):
            self.answers[request.key] = encode(outputs[request.key])
            self.calls[request.key] = call

    def _take(self, request: KeyedRequest, is_followed: bool) -> bool:
        call_key = CallKey.of(request.route)
        if request.step > 1:
            if not is_followed:
                return False
        elif self._counts[call_key] >= self._num_rows:
            return False
        else:
            self._counts[call_key] += 1
        self.chosen[request.key] = request
        return True


def preview(session: Session, scripts: Mapping[str, str], num_rows: int) -> list[PreviewRow]:
    """Compute num_rows requests of each call, with all their steps, and show them in the order in which they came up.

    Statements run in a transaction that is rolled back; calls that were not chosen are NULL. Answers are kept.
    """
    shown: list[PreviewRow] = []
    session.execute("BEGIN")
    try:
        with session.job("\n".join(scripts.values()), {"preview": num_rows}):
            for text in scripts.values():
                for statement in split_statements(text):
                    shown += _preview(session, statement, num_rows)
    finally:
        session.execute("ROLLBACK")
    return shown


def _preview(session: Session, text: str, num_rows: int) -> Iterator[PreviewRow]:
    evaluator, statement = session.evaluator, session.statements.plan(text)
    trace, call_texts = _Trace(num_rows), dict[int, str]()
    evaluator.begin_statement()
    if isinstance(statement, SetCommand):
        session.statements.run(statement)
    if isinstance(statement, AiStatement) and statement.queries:
        statement = plan_numbered(session, statement)
        call_texts = {site.number: site.text for site in call_sites(text, session.runtime.functions)}
    if isinstance(statement, AiStatement) and statement.queries:
        with evaluator.using(on_read=trace.read):
            for queries in session.statements.stages(statement):
                while _compute_chosen(session, trace, queries):
                    pass
    run_without_output(session, statement)
    for key, request in trace.chosen.items():
        failure, call = evaluator.statement.failures.get(key), trace.calls.get(key)
        yield PreviewRow(
            call_texts.get(request.route.site, request.route.function.name),
            str(request.route.version),
            backend_of(request.route.version).read_prompt(request.route.version, request.request),
            trace.answers.get(key),
            _value(call, request.route.function) if call is not None else None,
            failure.error if failure is not None else None,
        )


def _value(call: Call, function: Function) -> Any:
    """A call's value; one whose type depends on the call is JSON until SQL gives it that type."""
    return json.loads(call.value) if function.type_of is not None and call.value is not None else call.value


def _compute_chosen(session: Session, trace: _Trace, queries: Sequence[OpenReader]) -> bool:
    """Probe, and compute what was chosen; whether there was any."""
    missing = set[bytes]()

    def choose(requests: Sequence[KeyedRequest]) -> list[KeyedRequest]:
        missing.update(request.key for request in requests if request.needs_weights)
        return trace.choose(requests)

    with probe(session.evaluator, queries, choose) as probed:
        session.evaluator.runner.job.counts.note_probe(probed.num_rows, len(missing))
        if session.evaluator.statement.orders.choose():
            return True
        if probed.spool.count() == 0:
            return False
        compute(session.evaluator, probed.spool)
    return True
