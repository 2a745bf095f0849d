"""What scripts would ask, without asking it: probe phase 1 and no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlinfer.backends import backend_of
from sqlinfer.functions.call_options import Options
from sqlinfer.inference.call_stats import CallKey, CallStats
from sqlinfer.inference.cost_estimate import Estimate, Sample, estimate, samples
from sqlinfer.inference.counters import JobCounters
from sqlinfer.sql.commands.model_statements import is_model_statement
from sqlinfer.sql.phases import probe, silent
from sqlinfer.sql.rewrite.number_call_sites import CallSite, number_call_sites
from sqlinfer.sql.rewrite.split_statements import placed
from sqlinfer.sql.session import Session
from sqlinfer.sql.udf.evaluator import CallEvaluator

SKIPPED = {"COPY", "EXPORT", "BEGIN", "START", "COMMIT", "ROLLBACK", "ABORT", "END", "CHECKPOINT", "VACUUM", "INSTALL"}


@dataclass(frozen=True, slots=True)
class Call:
    """What one call of a script asks one model version.

    place: file and line; "" for calls in views and macros that were there before. model: "" for a call that met no row
    with a text: it waits for the answers of others. requests: distinct ones; known: those with an answer already;
    to_ask: those without, each counted for the first call that asks it. prompt_tokens: of what is to ask, counted on a
    sample of at most 200 requests of each statement, give or take prompt_tokens_error."""

    place: str
    call: str
    function: str
    model: str = ""
    rows: int = 0
    requests: int = 0
    known: int = 0
    to_ask: int = 0
    prompt_tokens: int = 0
    prompt_tokens_error: int = 0
    max_completion_tokens: int = 0
    est_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """What a model version needs of a device: its weights, and the cache of the longest row of the samples. fits:
    whether that is free now; batches take what is left."""

    model: str
    device: str
    dtype: str
    needs_bytes: int
    free_bytes: int
    fits: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """What scripts would ask. requests: distinct ones; known: those with an answer already. refused: rows that cannot
    be asked; refusal: why the first cannot. measured: whether est_seconds comes from the models' speed in earlier jobs
    here, or from a guess."""

    rows: int
    requests: int
    known: int
    refused: int
    refusal: str
    prompt_tokens: int
    est_seconds: float
    measured: bool
    calls: tuple[Call, ...]
    models: tuple[Model, ...]


class _Found:
    """What the probes of all statements found."""

    def __init__(self) -> None:
        self.rows = 0
        self.sites: dict[int, tuple[str, CallSite]] = {}
        self.tally = CallStats()
        self.totals: dict[CallKey, Sample] = {}

    def add(self, sample: Sample) -> None:
        """Take in what one origin asks in one statement."""
        asker = CallKey.of(sample.route)
        if asker in self.totals:
            self.totals[asker].add(sample)
        else:
            self.totals[asker] = sample


def explain(session: Session, scripts: Mapping[str, str], defaults: Mapping[str, Options] | None = None) -> Explanation:
    """Count what scripts would ask, by name. Their statements run in a transaction that is rolled back, with unknown
    answers as NULL, so that later ones find the tables of earlier ones; nothing is asked and no file is written.
    defaults: of scripts, by name: the model and the on_error of calls that say none."""
    answerer = session.answerer
    answerer.new_statement()
    answerer.counts = JobCounters()
    found = _Found()
    session.execute("BEGIN")
    try:
        for name, text in scripts.items():
            answerer.defaults = (defaults or {}).get(name, answerer.defaults)
            for line, statement in placed(text):
                if not is_model_statement(statement):
                    _explain(session, statement, (name, line), found)
    finally:
        session.execute("ROLLBACK")
    costs = {asker: estimate(session.runtime, total) for asker, total in found.totals.items()}
    requests = answerer.counts.requests - answerer.counts.refused
    asked = sum(total.requests for total in found.totals.values())
    return Explanation(
        rows=found.rows,
        requests=requests,
        known=max(0, requests - asked),
        refused=answerer.counts.refused,
        refusal=next((str(failure) for failure in answerer.failures.values() if not failure.model), ""),
        prompt_tokens=sum(cost.prompt_tokens for cost in costs.values()),
        est_seconds=round(sum(cost.seconds for cost in costs.values()), 3),
        measured=all(cost.is_measured for cost in costs.values()),
        calls=tuple(_calls(found, costs)),
        models=tuple(_models(found, costs)),
    )


def _explain(session: Session, statement: str, place: tuple[str, int], found: _Found) -> None:
    planned = session.plan(statement)
    if planned.is_ai:
        if planned.queries:
            session.validate(planned)  # as the user wrote it: so do errors show it
        numbered, sites = number_call_sites(statement, session.runtime.functions, len(found.sites) + 1)
        found.sites |= {site.number: (f"{place[0]}:{place[1] + site.line - 1}", site) for site in sites}
        planned = session.plan(numbered)
    if planned.is_ai and planned.queries:
        with _counted(session.answerer, found.tally), probe(session.answerer, session.readers(planned)) as probed:
            found.rows += probed.num_rows
            for sample in samples(probed.pending):
                found.add(sample)
    if not planned.is_query and planned.verb not in SKIPPED:
        with silent(session.answerer):
            session.run_directly(planned)


@contextmanager
def _counted(answerer: CallEvaluator, tally: CallStats) -> Iterator[None]:
    answerer.tally = tally
    try:
        yield
    finally:
        answerer.tally = None


def _calls(found: _Found, costs: Mapping[CallKey, Estimate]) -> Iterator[Call]:
    """The calls in the order of the scripts; one that asks several models is there several times."""
    for number, (place, site) in found.sites.items():
        call = Call(place, site.text, site.function, rows=found.tally.rows.get((number, site.function), 0))
        askers = [asker for asker in found.tally.requests if asker.site == number]
        yield from (_call(call, asker, found, costs) for asker in askers)
        if not askers:
            yield call
    for asker in found.tally.requests:
        if asker.site == 0:
            rows = found.tally.rows.get((0, asker.function), 0)
            yield _call(
                Call("", f"{asker.function} in views and macros", asker.function, rows=rows), asker, found, costs
            )


def _call(call: Call, asker: CallKey, found: _Found, costs: Mapping[CallKey, Estimate]) -> Call:
    call = replace(
        call,
        model=str(found.tally.versions[asker.fingerprint]),
        requests=found.tally.requests[asker].count(),
        known=found.tally.cached[asker].count(),
    )
    if asker not in costs:
        return call
    cost = costs[asker]
    return replace(
        call,
        to_ask=found.totals[asker].requests,
        prompt_tokens=cost.prompt_tokens,
        prompt_tokens_error=cost.prompt_tokens_error,
        max_completion_tokens=cost.completion_tokens,
        est_seconds=round(cost.seconds, 3),
    )


def _models(found: _Found, costs: Mapping[CallKey, Estimate]) -> Iterator[Model]:
    """The models that must be loaded for what is to ask."""
    longest: dict[str, int] = {}
    for asker, cost in costs.items():
        if cost.row_tokens:
            longest[asker.fingerprint] = max(longest.get(asker.fingerprint, 0), cost.row_tokens)
    for fingerprint, num_tokens in longest.items():
        version = found.tally.versions[fingerprint]
        need = backend_of(version).estimate_memory(version, num_tokens)
        yield Model(str(version), need.device, need.dtype, need.bytes, need.free_bytes, need.fits)
