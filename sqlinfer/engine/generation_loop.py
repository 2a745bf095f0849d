"""Continuous batching (Orca, OSDI 2022): schedule, run the model once, sample; finished sequences leave at once.

One loop serves one call of generate; a step is nano-vllm's. When memory runs out, sequences are preempted and the batch
is halved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlinfer.engine.batch.batch import Batch
from sqlinfer.engine.model.device import is_out_of_memory, release_memory
from sqlinfer.engine.sampling.choice_scorer import score
from sqlinfer.engine.sampling.sampler import continued_slots, sample
from sqlinfer.engine.scheduler import Limits, Scheduler
from sqlinfer.engine.sequence import Sequence
from sqlinfer.errors import describe

TAIL_TOKENS = 8  # more than a character's or a cut token's worth, so that a stop text is not missed


class GenerationLoop:
    """Runs sequences through a model, one forward pass a step.

    batch: empty. limits: of the batch. decode_text: the text of token ids. check_runs: raises an error unless the model
    still answers other texts.
    """

    def __init__(
        self,
        batch: Batch,
        limits: Limits,
        decode_text: Callable[[list[int]], str],
        check_runs: Callable[[], None],
    ) -> None:
        self.batch = batch
        self.scheduler = Scheduler(limits)
        self.utilization = 0.0
        self.num_prefill_tokens = 0
        """Of the prompts that are being read in this moment."""
        self._decode_text = decode_text
        self._check_runs = check_runs

    @property
    def has_work(self) -> bool:
        """Whether a sequence waits or runs."""
        return self.scheduler.has_work

    @property
    def wants_requests(self) -> bool:
        """Whether no sequence is waiting."""
        return not self.scheduler.waiting

    def add(self, sequences: Iterable[Sequence]) -> None:
        """Queue sequences."""
        self.scheduler.add(sequences)

    def step(self) -> list[Sequence]:
        """Schedule, run the model once, choose tokens. Returns the sequences that finished."""
        cancelled = self.scheduler.pop_cancelled()
        admitted = self.scheduler.admit()
        self.utilization = self.scheduler.utilization
        error = self._try(lambda: self._forward(admitted)) if self.scheduler.running else None
        if error is not None and is_out_of_memory(error):
            self._preempt(admitted)
        elif error is not None:
            self._isolate(admitted, error)
        return cancelled + self.scheduler.pop_finished()

    def _forward(self, admitted: list[Sequence]) -> None:
        """A prefill of the admitted sequences, or else a decode of the running ones, and a token for each of them.

        Sequences that have choices are scored as they join, and need no token.
        """
        self.num_prefill_tokens = sum(len(sequence.token_ids) for sequence in admitted)
        logits = self.batch.prefill(admitted) if admitted else self.batch.decode()
        self.num_prefill_tokens = 0
        rows = admitted or self.batch.rows
        if admitted:
            score(self.batch, admitted, logits, self.scheduler.limits)
        sample(rows, logits)
        for row in rows:
            if not row.is_cancelled():
                self._check_stop(row)
            if row.stream is not None and not row.is_finished:
                row.stream.push(row.output, row.logprobs)
        resting = self.batch.rows[: len(self.batch.rows) - len(rows)]
        first = sum(row.num_slots for row in resting)
        slots = [*range(first), *(first + slot for slot in continued_slots(rows))]
        self.batch.retain([row for row in self.batch.rows if not row.is_finished], slots)

    def _check_stop(self, row: Sequence) -> None:
        """Finish a sequence whose text now holds one of its model's stop strings, or after the least number of its
        tokens one of its own."""
        if row.is_finished or row.beams:
            return
        strings = row.settings.model.get("stop_strings") or ()
        models = (strings,) if isinstance(strings, str) else tuple(strings)
        if self._has_stop(row, models, 0) or self._has_stop(row, row.settings.stop, row.settings.min_tokens):
            row.finish_reason = "stop"

    def _has_stop(self, row: Sequence, stops: tuple[str, ...], least: int) -> bool:
        if not stops or len(row.output) <= least:
            return False
        num_tokens = max(len(stop.encode()) for stop in stops) + TAIL_TOKENS
        tail = self._decode_text(row.output[max(least, len(row.output) - num_tokens) :])
        return any(stop in tail for stop in stops)

    def _try(self, work: Callable[[], None]) -> Exception | None:
        """Do the work; its error, if it raised one. Tensors of a failed attempt are gone once this returns."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a model may raise anything for a row
            return error.with_traceback(None)
        return None

    def _preempt(self, admitted: list[Sequence]) -> None:
        """Halve the batch after memory ran out: sequences go back to waiting; one that was alone fails."""
        length = len(self.scheduler.running[0].token_ids)
        problem = f"out of memory: one row of {length} tokens alone does not fit; shorten it"
        self._give_back(admitted, problem, self.scheduler.preempt_and_halve, is_retryable=True)

    def _isolate(self, admitted: list[Sequence], error: Exception) -> None:
        """Run each sequence alone after another error; one that was alone fails. Raises an error if all would."""
        was_alone = len(self.scheduler.running) == 1
        problem = f"the model fails with this row: {describe(error)}"
        self._give_back(admitted, problem, self.scheduler.preempt_and_isolate, is_retryable=False)
        if was_alone:
            self._check_runs()

    def _give_back(
        self,
        admitted: list[Sequence],
        problem: str,
        preempt: Callable[[list[Sequence]], None],
        *,
        is_retryable: bool,
    ) -> None:
        """Let sequences wait again after a pass that broke off; one that was alone fails with this problem."""
        running = self.scheduler.running
        if len(running) == 1:
            running[0].fail(problem, is_retryable=is_retryable)
        # a pass that broke off has left the cache of its rows half written
        keeps_cache = admitted and len(self.batch.rows) + len(admitted) == len(running)
        preempt([row for row in (admitted if keeps_cache else running) if not row.is_finished])
        if not keeps_cache:
            self.batch.clear()
        release_memory(self.batch.model.device)
