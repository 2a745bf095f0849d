"""What a job counts: rows, distinct requests, tokens, seconds."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlinfer.engine import peak_memory
from sqlinfer.inference.distinct_counter import DistinctCounter
from sqlinfer.inference.keyed_request import KeyedRequest
from sqlinfer.types import AnyRequest, Completion, Probabilities, Text
from sqlinfer.units import count

_LEAST_ANSWERS = 20
"""Fewer answers say nothing of a model's liking for a label."""
_ONE_SIDED = 0.95
_MOST_SNAPSHOTS = 20
"""Of a model in one job."""
_ACTIVITIES = {"probe": "reading rows"}


class JobCounters:
    """The counts of one job. A request here is one that a model answers: one that a tokenizer answers counts apart, as
    tokenized, and as refused if it fails.

    rows: that its statements gave.
    generated: requests that a model answered.
    unanswered: requests that a model failed.
    refused: rows without a request, each a failed request.
    unread: answers that their function could not read.
    tokenized: requests that needed no weights and have an answer.
    cancelled: requests that were ended because no call waited for them any more.
    cut_off: texts that ended at max_tokens.
    labels: by function and model, how often each of a request's choices was the likeliest.
    prompt_tokens, completion_tokens: of all completions.
    expected: requests that will have ended when all that are recorded have.
    activity: what goes on, if requests are not being answered: rows are read, a model loads.
    phases: seconds by name.
    cost: of all completions, in US dollars; those of unknown cost count nothing.
    usage: by function and model: requests that ended, failed ones, prompt tokens, completion tokens.
    costs: by function and model, in US dollars; None if any is not known.
    snapshots: by model, what its server reports of it.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.generated = 0
        self.unanswered = self.refused = self.unread = 0
        self.tokenized = self._tokenizing = 0
        self.cancelled = 0
        self.cut_off = 0
        self.labels: dict[tuple[str, str], Counter[str]] = {}
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.cost = 0.0
        self.expected = 0
        self.activity = "preparing the statement"
        self.phases = {"probe": 0.0, "infer": 0.0}
        self.usage: dict[tuple[str, str], list[int]] = {}
        self.costs: dict[tuple[str, str], float | None] = {}
        self.snapshots: dict[str, list[str]] = {}
        self._fill = 0.0
        self._started_s = time.perf_counter()
        self._requests = DistinctCounter()
        self._num_scored = 0
        self._lock = threading.Lock()

    def count_requests(self, requests: Iterable[KeyedRequest | AnyRequest]) -> None:
        """Count requests; equal ones count once."""
        self._requests.add(request.key for request in requests if request.needs_weights)

    def count_completion(self, completion: Completion, batch_fill: float = 0.0) -> None:
        """Count a completion of the engine. batch_fill: how full its batch was, 0..1."""
        is_cancelled = completion.is_cancelled
        is_failed = completion.output is None and not is_cancelled
        if not completion.request.needs_weights:
            self.tokenized += completion.output is not None
            self.refused += is_failed
            return
        route = completion.request.route
        name = ("", "") if route is None else (route.function.name, str(route.version))
        used = self.usage.setdefault(name, [0, 0, 0, 0])
        amounts = (not is_cancelled, is_failed, completion.prompt_tokens, completion.completion_tokens)
        for i, amount in enumerate(amounts):
            used[i] += amount
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens
        self.cost += completion.cost or 0.0
        before = self.costs.get(name, 0.0)
        self.costs[name] = None if before is None or completion.cost is None else before + completion.cost
        self._note_snapshot(name[1], completion.snapshot)
        if is_cancelled:
            self.cancelled += 1
            return
        self._fill += batch_fill
        if is_failed:
            self.unanswered += 1
        else:
            self.generated += 1
            self._count_output(name, completion)

    def count_scored(self, function: str, model: str, num_rows: int, num_failed: int) -> None:
        """Count rows that a model scored without a request each."""
        with self._lock:
            used = self.usage.setdefault((function, model), [0, 0, 0, 0])
            self.costs[function, model] = 0.0
            used[0] += num_rows
            used[1] += num_failed
            self.unanswered += num_failed
            self.generated += num_rows - num_failed
            self._num_scored += num_rows

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Inside, a statement scores its rows: those of its largest call are what it gives."""
        before = {call: used[0] for call, used in self.usage.items()}
        try:
            yield
        finally:
            self.rows += max((used[0] - before.get(call, 0) for call, used in self.usage.items()), default=0)

    def _note_snapshot(self, model: str, snapshot: str) -> None:
        known = self.snapshots.setdefault(model, []) if snapshot else []
        if snapshot not in known and len(known) < _MOST_SNAPSHOTS:
            known.append(snapshot)

    def _count_output(self, name: tuple[str, str], completion: Completion) -> None:
        if isinstance(completion.output, Text):
            self.cut_off += completion.finish_reason == "length"
        elif isinstance(completion.output, Probabilities) and completion.output:
            self.labels.setdefault(name, Counter())[completion.output.best] += 1

    def one_sided(self) -> Iterator[str]:
        """A sentence on each function whose answers are nearly all one label."""
        for (function, model), labels in self.labels.items():
            ((label, number),) = labels.most_common(1)
            if labels.total() >= _LEAST_ANSWERS and number >= _ONE_SIDED * labels.total():
                yield (
                    f"{function} with {model}: {number:,} of {count(labels.total(), 'answer')} are {label!r}. If that "
                    f"is not right, name a larger model, or write calibrate := true where the function takes it."
                )

    def count_rows(self, num_rows: int) -> None:
        """Count rows."""
        self.rows += num_rows

    def count_failure(self, counter: str) -> None:
        """Count a request without a value. counter: refused or unread."""
        self.refused += counter == "refused"
        self.unread += counter == "unread"

    def note_probe(self, num_rows: int, num_missing: int, num_untokenized: int = 0) -> None:
        """Note the rows of all statements up to the one that was probed, and what has no answer yet: its requests, and
        those of a tokenizer."""
        self.rows = num_rows
        self.expected = self.ended + num_missing
        self._tokenizing = self.tokenized + num_untokenized

    @property
    def requests(self) -> int:
        """Distinct requests of its statements, rows that were scored without one, and rows that have none."""
        return self._requests.count() + self._num_scored + self.refused

    @property
    def known(self) -> int:
        """Requests that were cached before."""
        return max(0, self.requests - max(self.ended + self.cancelled, self.expected))

    @property
    def failed(self) -> int:
        """Requests without a value."""
        return self.unanswered + self.refused + self.unread

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the job began."""
        return time.perf_counter() - self._started_s

    @property
    def attempted(self) -> int:
        """All of which some may have failed: requests, and those of a tokenizer."""
        return max(self.requests, self.expected, self.ended) + max(self.tokenized, self._tokenizing)

    @property
    def computed(self) -> int:
        """Requests that a model ended in this job, with an answer or without."""
        return self.generated + self.unanswered

    @property
    def ended(self) -> int:
        """Requests that ended in this job, rows without a request among them."""
        return self.computed + self.refused

    @property
    def batch_fill(self) -> float:
        """How full batches were on average, 0..1; 0 if no engine says."""
        return self._fill / self.computed if self.computed else 0.0

    def note_activity(self, activity: str) -> None:
        """Note what goes on now."""
        self.activity = activity

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the seconds inside as this phase's."""
        started_s = time.perf_counter()
        self.activity = _ACTIVITIES.get(name, "")
        try:
            yield
        finally:
            self.activity = ""
            self.phases[name] += time.perf_counter() - started_s

    def as_record(self) -> dict[str, Any]:
        """All that a job's record has: the counts, progress, seconds by phase, and peaks of memory in bytes. What is
        neither probe nor infer is the replay: the statements themselves, on the answers."""
        phases = {**self.phases, "replay": max(0.0, self.seconds - sum(self.phases.values()))}
        return {
            **self.as_dict(),
            "expected": max(self.expected, self.ended),
            "batch_fill": self.batch_fill,
            "cut_off": self.cut_off,
            "cost": self.cost,
            "snapshots": dict(self.snapshots),
            "phases": {name: round(seconds, 3) for name, seconds in phases.items()},
            **peak_memory(),
        }

    def as_dict(self) -> dict[str, float]:
        """The counts by the names that a job's record has."""
        names = ("rows", "requests", "known", "generated", "failed", "prompt_tokens", "completion_tokens", "seconds")
        return {name: getattr(self, name) for name in names}
