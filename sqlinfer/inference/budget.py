"""The budget of a job: how many requests, tokens, seconds and dollars it may use. Knows no engine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from sqlinfer.backends import backend_of
from sqlinfer.config.job_settings import JobSettings
from sqlinfer.errors import Interrupted, SqlinferError, StoppedEarly
from sqlinfer.inference.cancellation import Deadline, StopSignal
from sqlinfer.inference.counters import JobCounters
from sqlinfer.inference.stage import Inference, NextStage, closing
from sqlinfer.types import AnyRequest, Completion
from sqlinfer.units import amount_of, count

_UNITS = {
    "max_requests": "requests",
    "max_prompt_tokens": "prompt tokens",
    "max_completion_tokens": "completion tokens",
    "max_seconds": "seconds",
    "max_cost": "US dollars",
}
_GO_ON = (
    "To go on: raise it (--{option} on the command line, SET sqlinfer_{name} = .. in SQL, -1 is no bound) and run the "
    "same again: what was answered is not asked again"
)


def within_budget(
    generate: NextStage, inference: Inference, requests: Iterator[AnyRequest], cancel: StopSignal
) -> Iterator[Completion]:
    """Let through what the job may compute. Raises StoppedEarly when the budget is used up, Interrupted at a stop."""
    _check_price(inference)
    budget = Budget(inference.settings, inference.job.counts)
    requests = budget.limited(inference.job.allowed(requests))
    with closing(generate(requests, Deadline(cancel, budget.deadline_s))) as completions:
        for completion in completions:
            budget.check()
            yield completion
    if cancel.is_set():
        raise Interrupted
    budget.end()


def _check_price(inference: Inference) -> None:
    """Raise SqlinferError if there is a budget in money and no price to count it by."""
    version, bound = inference.version, inference.settings.max_cost
    if bound is not None and backend_of(version).cost(version, 0, 0) is None:
        raise SqlinferError(
            f"max_cost is {bound:g}, and no price of {version} ({version.source}) is known. To give one: "
            "sqlinfer prices says in which file"
        )


class Budget:
    """What is left of a job's budget while one model runs. counts: of the job so far."""

    def __init__(self, settings: JobSettings, counts: JobCounters) -> None:
        self._settings = settings
        self._counts = counts
        self._taken = self._ended = 0
        self._is_cut = False

    @property
    def deadline_s(self) -> float | None:
        """When the job's seconds are over, in time.monotonic()."""
        bound = self._settings.max_seconds
        return None if bound is None else time.monotonic() + max(0.0, bound - self._counts.seconds)

    def refuse(self, **expected: float) -> None:
        """Raise StoppedEarly if what is about to be computed does not fit. expected: by the name of the bound."""
        for name, amount in expected.items():
            bound = getattr(self._settings, name)
            if bound is not None and self._spent(name) + amount > bound:
                spent = f" after {amount_of(self._spent(name))}" if self._spent(name) >= 1 else ""
                raise StoppedEarly(
                    f"The job is about to need {amount_of(amount)} {_UNITS[name]}{spent}, and {name} is {bound:,}. "
                    f"None of these requests was asked. {_go_on(name)}."
                )

    def limited(self, requests: Iterable[AnyRequest]) -> Iterator[AnyRequest]:
        """The requests, up to max_requests."""
        bound = self._settings.max_requests
        num_computed = self._counts.computed
        for request in requests:
            if bound is not None and request.needs_weights and num_computed >= bound:
                self._is_cut = True
                return
            num_computed += request.needs_weights
            self._taken += 1
            yield request

    def check(self) -> None:
        """Note that a request ended; raise StoppedEarly once a bound is passed."""
        self._ended += 1
        for name in ("max_prompt_tokens", "max_completion_tokens", "max_seconds", "max_cost"):
            bound = getattr(self._settings, name)
            if bound is not None and self._spent(name) > bound:
                self._stop(name)

    def end(self) -> None:
        """Raise StoppedEarly if requests were left because of a bound."""
        if self._is_cut:
            self._stop("max_requests")
        bound = self._settings.max_seconds
        if bound is not None and self._ended < self._taken and self._counts.seconds > bound:
            self._stop("max_seconds")

    def _spent(self, name: str) -> float:
        counts = self._counts
        if name == "max_requests":
            return counts.computed
        return float(getattr(counts, name.removeprefix("max_")))

    def _stop(self, name: str) -> None:
        counts = self._counts
        num_left = counts.expected - counts.ended
        left = count(num_left, "request is", "requests are") if num_left > 0 else ""
        left = f"at least {left} left" if left else "requests are left"
        kept = count(counts.generated, "new answer is", "new answers are")
        raise StoppedEarly(
            f"The job stopped at its budget: {name} is {getattr(self._settings, name):,}, and it has used "
            f"{amount_of(self._spent(name))} {_UNITS[name]}. {kept} kept, {left}. {_go_on(name)}."
        )


def _go_on(name: str) -> str:
    return _GO_ON.format(name=name, option=name.replace("_", "-"))
