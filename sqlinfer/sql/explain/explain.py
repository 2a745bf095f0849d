"""What scripts would compute, without computing it: probe phase 1 and no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from sqlinfer.backends import backend_of
from sqlinfer.functions.call_options import Options
from sqlinfer.inference.call_stats import CallKey, CallStats
from sqlinfer.inference.cost_estimate import Estimate, Sample, estimate, samples
from sqlinfer.inference.failures import Failures
from sqlinfer.sql.parsing.split_statements import split_with_lines
from sqlinfer.sql.phases import Probed, probe
from sqlinfer.sql.plan import AiStatement, DuckDBStatement, Query, SetCommand, Statement, first_limit
from sqlinfer.sql.rewrite.context import RewriteContext
from sqlinfer.sql.rewrite.number_call_sites import CallSite, call_sites
from sqlinfer.sql.rewrite.passes import EXPLAIN_PASSES, apply_passes
from sqlinfer.sql.session import Session

_SKIPPED = {"COPY", "EXPORT", "BEGIN", "START", "COMMIT", "ROLLBACK", "ABORT", "END", "CHECKPOINT", "VACUUM", "INSTALL"}
"""Statements that write files or end the transaction in which the others are undone."""


@dataclass(frozen=True, slots=True)
class CallEstimate:
    """What one call of a script needs of one model version.

    place: file and line; "" for calls in views and macros that were there before.
    call: as it is written.
    function: its name.
    model: the version; "" for a call that met no row with a text: it waits for the answers of others.
    rows: that it is computed for.
    requests: distinct ones.
    known: those that are cached.
    to_ask: those that are not, each counted for the first call that has it.
    prompt_tokens: of what is not cached, counted on a sample of at most 200 requests of each statement.
    prompt_tokens_error: how far off that may be.
    max_completion_tokens: the most that the model may write.
    est_seconds: the time that it takes.
    cost: in US dollars, about; None if no price of the model is known.
    is_kept: whether its answers are kept; else all its rows are scored, in each run.
    """

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
    cost: float | None = 0.0
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What a model version needs of a device.

    model: the version.
    device: where it will run.
    dtype: of its weights.
    needs_bytes: its weights, and the KV cache of the longest row of the samples.
    free_bytes: of the device now.
    fits: whether that is enough; batches take what is left.
    """

    model: str
    device: str
    dtype: str
    needs_bytes: int
    free_bytes: int
    fits: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """What scripts would compute.

    rows: of all probes.
    requests: distinct ones.
    known: those that are cached.
    avoidable: those of the others that a LIMIT may make needless: the query stops when it has its rows.
    refused: rows that cannot have a request.
    refusal: why the first of them cannot.
    prompt_tokens: of what is not cached.
    est_seconds: the time that it takes.
    cost: in US dollars, about; None if no price of some model is known.
    measured: whether est_seconds comes from the models' speed in earlier jobs here, or from a guess.
    calls: in the order of the scripts.
    models: those that must be loaded.
    """

    rows: int
    requests: int
    known: int
    avoidable: int
    refused: int
    refusal: str
    prompt_tokens: int
    est_seconds: float
    cost: float | None
    measured: bool
    calls: tuple[CallEstimate, ...]
    models: tuple[MemoryNeed, ...]


class _Probes:
    """What the probes of all statements recorded.

    num_rows: that they gave.
    num_for_models: requests that are not cached and need the weights of a model.
    refused: rows without a request.
    num_avoidable: requests that a LIMIT may make needless.
    sites: the calls of the scripts by number, each with file and line.
    stats: of the calls.
    totals: samples of what is not cached.
    """

    def __init__(self) -> None:
        self.num_rows = self.num_for_models = 0
        self.refused: Failures = {}
        self.num_avoidable = 0
        self.sites: dict[int, tuple[str, CallSite]] = {}
        self.stats = CallStats()
        self.totals: dict[CallKey, Sample] = {}

    def add(self, statement: AiStatement, probed: Probed) -> None:
        """Take in what a probe of one statement recorded."""
        self.num_rows += probed.num_rows
        self.num_for_models += probed.spool.count_for_models()
        self.refused |= probed.certain_refusals(statement.num_rounds)
        sampled = samples(probed.spool)
        if statement.stopping:
            num_missing = sum(sample.requests for sample in sampled)
            self.num_avoidable += max(0, num_missing - max(map(first_limit, statement.stopping)))
        for sample in sampled:
            key = CallKey.of(sample.route)
            if key in self.totals:
                self.totals[key].add(sample)
            else:
                self.totals[key] = sample


def explain(session: Session, scripts: Mapping[str, str], defaults: Mapping[str, Options] | None = None) -> Explanation:
    """Count what scripts would compute, by name. Their statements run in a transaction that is rolled back, with NULL
    for unknown answers, so that later ones find the tables of earlier ones; nothing is computed and no file is written.
    defaults: of scripts, by name: the model and the on_error of calls that say none."""
    evaluator = session.evaluator
    evaluator.begin_statement()
    evaluator.runner.count_anew()
    probes = _Probes()
    session.execute("BEGIN")
    try:
        for name, text in scripts.items():
            with evaluator.using(defaults=(defaults or {}).get(name, evaluator.defaults)):
                for line, statement in split_with_lines(text):
                    _explain(session, statement, (name, line), probes)
    finally:
        session.execute("ROLLBACK")
    costs = {key: estimate(session.runtime, total) for key, total in probes.totals.items()}
    num_missing = sum(total.requests for total in probes.totals.values())
    num_known = max(0, evaluator.job.counts.requests - probes.num_for_models)
    return Explanation(
        rows=probes.num_rows,
        requests=num_known + num_missing,
        known=num_known,
        avoidable=probes.num_avoidable,
        refused=len(probes.refused),
        refusal=next(map(str, probes.refused.values()), ""),
        prompt_tokens=sum(cost.prompt_tokens for cost in costs.values()),
        est_seconds=round(sum(cost.seconds for cost in costs.values()), 3),
        cost=_sum(cost.cost for cost in costs.values()),
        measured=all(cost.is_measured for cost in costs.values()),
        calls=tuple(_calls(probes, costs)),
        models=tuple(_models(probes, costs)),
    )


def _explain(session: Session, text: str, location: tuple[str, int], probes: _Probes) -> None:
    statement = session.statements.plan(text)
    if isinstance(statement, SetCommand):
        session.statements.run(statement)
    if isinstance(statement, AiStatement):
        first_site = len(probes.sites) + 1
        for site in call_sites(text, session.runtime.functions, first_site):
            probes.sites[site.number] = (f"{location[0]}:{location[1] + site.line - 1}", site)
        statement = plan_numbered(session, statement, first_site)
    if isinstance(statement, AiStatement) and statement.stages[0]:
        evaluator, stages = session.evaluator, session.statements.stages(statement)
        with evaluator.using(stats=probes.stats), probe(evaluator, stages[0]) as probed:
            probes.add(statement, probed)
    run_without_output(session, statement)


def plan_numbered(session: Session, statement: AiStatement, first_site: int = 1) -> Statement:
    """The statement with numbers in its AI calls. Raises what is wrong with it as the user wrote it."""
    if statement.stages[0]:
        session.statements.bind(statement)
    context = RewriteContext(session.runtime.functions, first_site=first_site)
    numbered = session.statements.plan(apply_passes(EXPLAIN_PASSES, statement.text, context))
    return session.statements.bind(numbered) if isinstance(numbered, AiStatement) and numbered.stages[0] else numbered


def run_without_output(session: Session, statement: Statement) -> None:
    """Run a statement that later ones may build on, with NULL for answers that are not cached; no file is written and
    the open transaction stays."""
    if isinstance(statement, DuckDBStatement) and not isinstance(statement, Query) and runs_in_transaction(statement):
        session.statements.run_unanswered(statement)


def runs_in_transaction(statement: Statement) -> bool:
    """Whether a transaction that is rolled back undoes a statement, and outlives it."""
    return not isinstance(statement, DuckDBStatement) or statement.verb not in _SKIPPED


def _calls(probes: _Probes, costs: Mapping[CallKey, Estimate]) -> Iterator[CallEstimate]:
    """The calls in the order of the scripts; one with several models is there several times."""
    for number, (location, site) in probes.sites.items():
        call = CallEstimate(location, site.text, site.function, rows=probes.stats.rows.get((number, site.function), 0))
        keys = [key for key in probes.stats.requests if key.site == number]
        yield from (_call(call, key, probes, costs) for key in keys)
        if not keys:
            yield call
    for key in probes.stats.requests:
        if key.site == 0:
            rows = probes.stats.rows.get((0, key.function), 0)
            yield _call(
                CallEstimate("", f"{key.function} in views and macros", key.function, rows=rows), key, probes, costs
            )


def _call(call: CallEstimate, key: CallKey, probes: _Probes, costs: Mapping[CallKey, Estimate]) -> CallEstimate:
    call = replace(
        call,
        model=str(probes.stats.versions[key.fingerprint]),
        requests=probes.stats.requests[key].count(),
        known=probes.stats.cached[key].count(),
        is_kept=key not in probes.stats.scored,
    )
    if key not in costs:
        return call
    cost = costs[key]
    return replace(
        call,
        to_ask=probes.totals[key].requests,
        prompt_tokens=cost.prompt_tokens,
        prompt_tokens_error=cost.prompt_tokens_error,
        max_completion_tokens=cost.completion_tokens,
        est_seconds=round(cost.seconds, 3),
        cost=cost.cost,
    )


def _sum(costs: Iterable[float | None]) -> float | None:
    known = list(costs)
    return None if None in known else sum(cost for cost in known if cost is not None)


def _models(probes: _Probes, costs: Mapping[CallKey, Estimate]) -> Iterator[MemoryNeed]:
    """The models that must be loaded for what is not cached."""
    longest: dict[str, int] = {}
    for key, cost in costs.items():
        if cost.row_tokens:
            longest[key.fingerprint] = max(longest.get(key.fingerprint, 0), cost.row_tokens)
    for fingerprint, num_tokens in longest.items():
        version = probes.stats.versions[fingerprint]
        need = backend_of(version).estimate_memory(version, num_tokens)
        if need is not None:
            yield MemoryNeed(str(version), need.device, need.dtype, need.bytes, need.free_bytes, need.fits)
