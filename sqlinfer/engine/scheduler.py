"""Who runs next: waiting and running sequences under a budget of tokens; knows no torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlinfer.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Limits:
    """What a batch may hold.

    max_lines: rows of the model's batch, a beam being one. max_tokens: cache slots, counted as lines times the
    longest of them. max_prefill_tokens: prompt tokens of one prefill. refill: may rows join a running batch?
    is_packed: rows need no padding, so that each counts with its own length.
    """

    max_lines: int = 64
    max_tokens: int = 65536
    max_prefill_tokens: int = 4096
    refill: bool = True
    is_packed: bool = False


def fit_limits(free_bytes: int, bytes_per_token: int, *, on_gpu: bool) -> Limits:
    """How large a batch may be: a share of the free memory for the cache, a size that keeps the device busy."""
    share = 0.4 if on_gpu else 0.2  # growing a cache copies it
    return Limits(
        max_lines=256 if on_gpu else 128,
        max_tokens=max(int(free_bytes * share / bytes_per_token), 1),
        max_prefill_tokens=16384 if on_gpu else 2048,
    )


class Scheduler:
    """Admits the longest waiting sequences as far as the limits go; finished ones make room for the next."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    def add(self, sequences: Iterable[Sequence]) -> None:
        """Queue a window of sequences: those that may run longest first, so that few are left alone at the end.

        Then neighbours begin alike, to be read once; where rows are padded, they are of about equal length first.
        """
        self.waiting.extend(sequences)
        self.waiting = deque(sorted(self.waiting, key=_packed_order if self.limits.is_packed else _padded_order))

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.running)

    @property
    def fill(self) -> float:
        """How much of the batch is in use, by lines or by tokens, whichever is fuller; 0..1."""
        lines = _lines(self.running) / max(1, self.limits.max_lines)
        return min(1.0, max(lines, self._tokens(self.running) / max(1, self.limits.max_tokens)))

    def admit(self) -> list[Sequence]:
        """Move the sequences that start now from waiting to running."""
        joining: list[Sequence] = []
        if not self._refill_pays():
            return joining
        while self.waiting and self._fits(joining, self.waiting[0]):
            joining.append(self.waiting.popleft())
        self.running += joining
        return joining

    def retire(self) -> list[Sequence]:
        """Take the finished sequences out of the batch."""
        finished = [s for s in self.running if s.is_finished]
        if finished:
            self.running = [s for s in self.running if not s.is_finished]
        return finished

    def shrink(self, back: list[Sequence]) -> None:
        """Put sequences back to waiting and halve the batch: it did not fit the memory."""
        lines, tokens = _lines(self.running), self._tokens(self.running)
        self.limits = replace(self.limits, max_lines=max(1, lines // 2), max_tokens=max(1, tokens // 2))
        leaving = set(map(id, back))
        self.running = [s for s in self.running if id(s) not in leaving]
        for sequence in back:
            sequence.restart()
        self.waiting.extendleft(reversed(back))

    def _refill_pays(self) -> bool:
        """A prefill costs about a step, so rows join a running batch when an eighth of it is free."""
        if not self.waiting or not self.running:
            return bool(self.waiting)
        free = self.limits.max_lines - _lines(self.running)
        return self.limits.refill and free >= max(1, self.limits.max_lines // 8)

    def _fits(self, joining: list[Sequence], candidate: Sequence) -> bool:
        """Whether candidate may join too, beside rows of as many lines; what runs alone always may."""
        batch = [*self.running, *joining, candidate]
        if len(batch) == 1:
            return True
        if candidate.num_lines != batch[0].num_lines:
            return False
        joiners = [*joining, candidate]
        read = [len(s.prompt) + len(s.output) for s in joiners]
        prefill = sum(read) if self.limits.is_packed else max(read) * len(read)
        return (
            _lines(batch) <= self.limits.max_lines
            and self._tokens(batch) <= self.limits.max_tokens
            and (not joining or prefill <= self.limits.max_prefill_tokens)
        )

    def _tokens(self, batch: list[Sequence]) -> int:
        """Cache slots that a batch may come to need."""
        if self.limits.is_packed:
            return sum(s.max_length for s in batch)
        return _lines(batch) * max((s.max_length for s in batch), default=0)


def _lines(batch: list[Sequence]) -> int:
    return sum(s.num_lines for s in batch)


def _padded_order(sequence: Sequence) -> tuple[int, int, list[int]]:
    return sequence.num_lines, -sequence.max_length, sequence.prompt


def _packed_order(sequence: Sequence) -> tuple[int, list[int]]:
    return -sequence.settings.max_tokens, sequence.prompt
