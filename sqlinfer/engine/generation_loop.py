"""One call of generate: its scheduler, its running batch, and what happens when memory runs out.

Loads torch when the first batch runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from sqlinfer.engine.model.device import is_out_of_memory, release_memory
from sqlinfer.engine.scheduler import Limits, Scheduler
from sqlinfer.engine.sequence import Sequence

if TYPE_CHECKING:
    import torch

TAIL_TOKENS = 8  # more than a character's or a cut token's worth, so that a stop text is not missed


class Batch(Protocol):
    """The rows that run in the model now: PackedBatch, DecoderBatch or Seq2SeqBatch."""

    model: Any
    rows: list[Sequence]
    can_merge: bool
    is_packed: bool

    def join(self, rows: list[Sequence]) -> torch.Tensor: ...

    def step(self) -> torch.Tensor: ...

    def read(self, lines: list[int], feeds: list[list[int]]) -> torch.Tensor: ...

    def keep(self, rows: list[Sequence], lines: list[int]) -> None: ...

    def clear(self) -> None: ...


class GenerationLoop:
    """Sequences on their way through a model, one forward pass a step."""

    def __init__(self, batch: Batch, limits: Limits, device: Any, text: Callable[[list[int]], str]) -> None:
        self.batch = batch
        self.scheduler = Scheduler(limits)
        self.fill = 0.0
        self._device = device
        self._text = text

    @property
    def has_work(self) -> bool:
        """Whether a row waits or runs."""
        return self.scheduler.has_work

    @property
    def needs_rows(self) -> bool:
        """Whether none is waiting."""
        return not self.scheduler.waiting

    def add(self, rows: Iterable[Sequence]) -> None:
        """Queue rows."""
        self.scheduler.add(rows)

    def step(self) -> list[Sequence]:
        """Schedule, run the model once, choose tokens. Returns the sequences that finished."""
        joining = self.scheduler.admit()
        self.fill = self.scheduler.fill
        if not self._try(lambda: self._advance(joining)):
            self._make_room(joining)
        return self.scheduler.retire()

    def _advance(self, joining: list[Sequence]) -> None:
        """A forward pass of the joining rows, or else of the running ones, and a token for each of them.

        Rows that have choices are scored as they join, and need no token.
        """
        from sqlinfer.engine.sampling.choice_scorer import score
        from sqlinfer.engine.sampling.sampler import choose, kept_lines

        logits = self.batch.join(joining) if joining else self.batch.step()
        rows = joining or self.batch.rows
        if joining:
            score(self.batch, joining, logits, self.scheduler.limits)
        choose(rows, logits)
        for row in rows:
            self._stop(row)
        resting = self.batch.rows[: len(self.batch.rows) - len(rows)]
        first = sum(row.num_lines for row in resting)
        lines = [*range(first), *(first + line for line in kept_lines(rows))]
        self.batch.keep([row for row in self.batch.rows if not row.is_finished], lines)

    def _stop(self, row: Sequence) -> None:
        """End a row whose text now holds one of its stop texts."""
        stops = row.settings.stop
        if not stops or row.is_finished or row.beams:
            return
        window = max(len(stop.encode()) for stop in stops) + TAIL_TOKENS
        tail = self._text(row.output[-window:])
        if any(stop in tail for stop in stops):
            row.finish_reason = "stop"

    def _try(self, work: Callable[[], None]) -> bool:
        """Whether work fitted the memory. Tensors of a failed attempt are gone once this returns."""
        try:
            work()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return True
        return False

    def _make_room(self, joining: list[Sequence]) -> None:
        """Halve the batch after memory ran out; a row that was alone fails."""
        running = self.scheduler.running
        if len(running) == 1:
            length = len(running[0].history)
            said = f"out of memory: one row of {length} tokens alone does not fit; shorten it"
            running[0].fail(said, is_retryable=True)
        # a pass that broke off has left the cache of its rows half written
        keeps_cache = joining and len(self.batch.rows) + len(joining) == len(running)
        back = joining if keeps_cache else running
        self.scheduler.shrink([row for row in back if not row.is_finished])
        if not keeps_cache:
            self.batch.clear()
        release_memory(self._device)
