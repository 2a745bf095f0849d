"""Which sequences run next: waiting and running ones under a token budget; knows no torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlinfer.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may be."""

    max_slots: int = 64
    """Slots of the batch; a sequence takes one, or one a beam."""
    max_tokens: int = 65536
    """Tokens in the KV cache; where rows are padded, slots times the longest row."""
    max_prefill_tokens: int = 4096
    """Prompt tokens of one prefill, padding counted."""
    can_refill: bool = True
    """Whether sequences may join a running batch."""
    is_packed: bool = False
    """Whether rows need no padding, so that each counts with its own length."""


def fit_limits(free_bytes: int, bytes_per_token: int, *, on_gpu: bool) -> Limits:
    """How large a batch may be: a share of the free memory for the cache, a size that keeps the device busy."""
    share = 0.4 if on_gpu else 0.2  # growing a cache copies it
    return Limits(
        max_slots=256 if on_gpu else 128,
        max_tokens=max(int(free_bytes * share / bytes_per_token), 1),
        max_prefill_tokens=16384 if on_gpu else 2048,
    )


class Scheduler:
    """Admits the longest waiting sequences as far as the limits go; each that finishes frees its slots for the next.

    waiting: sequences not yet admitted, in the order of admission. running: those in the batch.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._isolated: set[int] = set()  # ids of sequences that run alone

    def add(self, sequences: Iterable[Sequence]) -> None:
        """Queue a window of sequences: those that may run longest first, so that few are left alone at the end.

        Then neighbours share prefixes, which are prefilled once; where rows are padded, they are of about equal length
        first.
        """
        self.waiting.extend(sequences)
        self.waiting = deque(sorted(self.waiting, key=_packed_order if self.limits.is_packed else _padded_order))

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.running)

    @property
    def utilization(self) -> float:
        """How much of the batch is in use, by slots or by tokens, whichever is fuller; 0..1."""
        slots = _num_slots(self.running) / max(1, self.limits.max_slots)
        return min(1.0, max(slots, self._num_tokens(self.running) / max(1, self.limits.max_tokens)))

    def admit(self) -> list[Sequence]:
        """Move the sequences that start now from waiting to running."""
        admitted: list[Sequence] = []
        if not self._refill_pays():
            return admitted
        while self.waiting and self._fits(admitted, self.waiting[0]):
            admitted.append(self.waiting.popleft())
        self.running += admitted
        return admitted

    def pop_cancelled(self) -> list[Sequence]:
        """Remove the cancelled sequences from waiting."""
        cancelled = [s for s in self.waiting if s.is_cancelled()]
        if cancelled:
            self.waiting = deque(s for s in self.waiting if not s.is_finished)
        return cancelled

    def pop_finished(self) -> list[Sequence]:
        """Remove the finished sequences from running."""
        finished = [s for s in self.running if s.is_finished]
        if finished:
            self.running = [s for s in self.running if not s.is_finished]
            self._isolated.difference_update(map(id, finished))
        return finished

    def preempt_and_halve(self, preempted: list[Sequence]) -> None:
        """Move running sequences back to waiting and halve the batch: it did not fit the memory."""
        slots, tokens = _num_slots(self.running), self._num_tokens(self.running)
        self.limits = replace(self.limits, max_slots=max(1, slots // 2), max_tokens=max(1, tokens // 2))
        self._preempt(preempted)

    def preempt_and_isolate(self, preempted: list[Sequence]) -> None:
        """Move running sequences back to waiting, from where each runs alone: one of them broke the batch."""
        self._isolated |= set(map(id, preempted))
        self._preempt(preempted)

    def _preempt(self, preempted: list[Sequence]) -> None:
        leaving = set(map(id, preempted))
        self.running = [s for s in self.running if id(s) not in leaving]
        for sequence in preempted:
            sequence.restart()
        self.waiting.extendleft(reversed(preempted))

    def _refill_pays(self) -> bool:
        """A prefill costs about a decode, so sequences join a running batch when an eighth of it is free."""
        if not self.waiting or not self.running:
            return bool(self.waiting)
        free = self.limits.max_slots - _num_slots(self.running)
        return self.limits.can_refill and free >= max(1, self.limits.max_slots // 8)

    def _fits(self, admitted: list[Sequence], candidate: Sequence) -> bool:
        """Whether a candidate may join too; all in a batch have as many slots. What runs alone always may."""
        batch = [*self.running, *admitted, candidate]
        if len(batch) == 1:
            return True
        if candidate.num_slots != batch[0].num_slots or not self._isolated.isdisjoint(map(id, batch)):
            return False
        lengths = [len(s.prompt) + len(s.output) for s in (*admitted, candidate)]
        num_prefill_tokens = sum(lengths) if self.limits.is_packed else max(lengths) * len(lengths)
        return (
            _num_slots(batch) <= self.limits.max_slots
            and self._num_tokens(batch) <= self.limits.max_tokens
            and (not admitted or num_prefill_tokens <= self.limits.max_prefill_tokens)
        )

    def _num_tokens(self, batch: list[Sequence]) -> int:
        """Tokens of KV cache that a batch may come to need."""
        if self.limits.is_packed:
            return sum(s.max_length for s in batch)
        return _num_slots(batch) * max((s.max_length for s in batch), default=0)


def _num_slots(batch: list[Sequence]) -> int:
    return sum(s.num_slots for s in batch)


def _padded_order(sequence: Sequence) -> tuple[int, int, list[int]]:
    return sequence.num_slots, -sequence.max_length, sequence.prompt


def _packed_order(sequence: Sequence) -> tuple[int, list[int]]:
    return -sequence.settings.max_tokens, sequence.prompt
