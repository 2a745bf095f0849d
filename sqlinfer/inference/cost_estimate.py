"""What requests will cost, before they are computed: tokens counted on a sample, time from the model's speed here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from sqlinfer.backends import backend_of
from sqlinfer.config.job_settings import JobSettings
from sqlinfer.inference.keyed_request import Route
from sqlinfer.inference.request_spool import RequestSpool
from sqlinfer.inference.runtime import Runtime
from sqlinfer.types import AnyRequest, Choose, CountTokens

_SAMPLE = 200
_UNKNOWN_SPEED = (200.0, 20.0)
"""Prompt and completion tokens a second of a model that was never measured here: a small model on a CPU."""
_UNKNOWN_ANSWER_TOKENS = 256


@dataclass(slots=True)
class Sample:
    """Requests of one route."""

    route: Route
    """That all of them have."""
    requests: int
    """How many there are."""
    characters: int
    """Of all their texts."""
    sample: list[AnyRequest]
    """At most 200 of each statement."""

    def add(self, other: Sample) -> None:
        """Merge the requests of another statement."""
        self.requests += other.requests
        self.characters += other.characters
        self.sample += other.sample


@dataclass(frozen=True, slots=True)
class Estimate:
    """What requests will cost."""

    prompt_tokens: int
    """Of all, projected from a sample."""
    prompt_tokens_error: int
    """How far off prompt_tokens may be, for 95 % of samples."""
    completion_tokens: int
    """At most."""
    seconds: float
    """For prompts and answers."""
    prompt_seconds: float
    """Of the seconds, those for the prompts: at least so many."""
    is_measured: bool
    """Whether the seconds come from the model's speed in earlier jobs here, or from a guess."""
    cost: float | None
    """In US dollars, about; None if no price of the model is known."""
    prompt_cost: float
    """Of it, that of the prompts: at least so much."""
    row_tokens: int
    """Prompt and answer of the longest request of the sample; 0 if no weights are needed."""


def samples(spool: RequestSpool) -> list[Sample]:
    """A sample for each route that has requests of a model; one that asks where to cut a text stands for those on its
    parts."""
    sampled = []
    for _, routes in spool.by_model():
        for route in routes:
            num_requests, num_characters = spool.measure([route])
            requests = spool.requests([route], every=max(1, num_requests // _SAMPLE))
            sample = list(islice(requests, _SAMPLE))
            if not all(isinstance(request, CountTokens) for request in sample):
                sampled.append(Sample(route, num_requests, num_characters, sample))
    return sampled


def estimate(runtime: Runtime, total: Sample) -> Estimate:
    """What the requests of one route cost."""
    version = total.route.version
    counted = backend_of(version).count_prompt_tokens(version, total.sample)
    prompt_tokens, error = _prompt_tokens(counted, total)
    most = [(r.parameters.max_tokens or _UNKNOWN_ANSWER_TOKENS) if r.is_decoded else 0 for r in total.sample]
    answer_tokens = round(total.requests * sum(most) / max(1, len(most)))
    measured = runtime.store.jobs.speed(version.fingerprint)
    prompt_speed, answer_speed = measured or _UNKNOWN_SPEED
    is_measured = measured is not None and (answer_speed is not None or not answer_tokens)
    is_read = any(request.needs_weights for request in total.sample)
    prompt_seconds = prompt_tokens / max(prompt_speed, 1e-9) if is_read else 0.0
    seconds = max(prompt_seconds, answer_tokens / (answer_speed or _UNKNOWN_SPEED[1]))
    rows = [read + written for read, written, r in zip(counted, most, total.sample, strict=True) if r.needs_weights]
    row_tokens = max(rows, default=0)
    backend = backend_of(version)
    num_choices = total.requests * sum(isinstance(r, Choose) for r in total.sample) // max(1, len(total.sample))
    cost = backend.cost(version, prompt_tokens, answer_tokens + num_choices * backend.choice_tokens)
    prompt_cost = backend.cost(version, max(0, prompt_tokens - error), 0) or 0.0
    return Estimate(
        prompt_tokens, error, answer_tokens, seconds, prompt_seconds, is_measured, cost, prompt_cost, row_tokens
    )


def expect(runtime: Runtime, spool: RequestSpool, settings: Iterable[JobSettings]) -> dict[str, float]:
    """The least that spooled requests need of a budget, by the name of its bound; tokens are counted only if some
    bound needs them."""
    budgets = list(settings)
    expected: dict[str, float] = {"max_requests": spool.count_for_models()}
    by_tokens = any(budget.max_prompt_tokens is not None for budget in budgets)
    by_time = any(budget.max_seconds is not None for budget in budgets) and any(
        runtime.store.jobs.speed(version.fingerprint) for version, _ in spool.by_model()
    )
    by_cost = any(budget.max_cost is not None for budget in budgets)
    if by_tokens or by_time or by_cost:
        costs = [estimate(runtime, sample) for sample in samples(spool)]
        expected["max_prompt_tokens"] = sum(cost.prompt_tokens - cost.prompt_tokens_error for cost in costs)
        expected["max_cost"] = sum(cost.prompt_cost for cost in costs)
        expected["max_seconds"] = sum(cost.prompt_seconds for cost in costs if cost.is_measured)
    if any(budget.max_completion_tokens is not None for budget in budgets):
        expected["max_completion_tokens"] = sum(map(_least_answer_tokens, samples(spool)))
    return expected


def _least_answer_tokens(total: Sample) -> int:
    """One for each answer that is decoded: what is scored or counted decodes nothing."""
    return total.requests * sum(request.is_decoded for request in total.sample) // max(1, len(total.sample))


def _prompt_tokens(counted: list[int], total: Sample) -> tuple[int, int]:
    """Counted for the sample, carried over to all requests by the length of their texts; and the error of that."""
    tokens = np.array(counted, dtype=float)
    num_sampled = len(tokens)
    if num_sampled in (0, total.requests):
        return int(tokens.sum()), 0
    lengths = np.array([len(request.text) for request in total.sample], dtype=float)
    slope, constant = np.polyfit(lengths, tokens, 1) if np.ptp(lengths) > 0 else (0.0, tokens.mean())
    rest = tokens - (slope * lengths + constant)
    spread = math.sqrt(float(rest @ rest) / max(1, num_sampled - 2))
    share = 1 - num_sampled / total.requests
    error = 1.96 * total.requests * spread * math.sqrt(share / num_sampled)
    return round(slope * total.characters + constant * total.requests), round(error)
