"""An Engine whose model runs in processes of its own: batches of rows go to worker processes, several at a time."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress

import duckdb
import pyarrow as pa

from sqlinfer.config.job_settings import JobSettings
from sqlinfer.config.process_settings import num_cores
from sqlinfer.errors import Interrupted, ModelUnusable
from sqlinfer.scoring.process import Cancelled, ScoringError, WorkerProcess
from sqlinfer.scoring.row_results import RowResults, joined
from sqlinfer.scoring.signature import conform, mismatch, row_errors
from sqlinfer.scoring.values import decode, encode, read_type
from sqlinfer.types import AnyRequest, Cancel, Completion, Json, ModelVersion, Predict, WarmModel
from sqlinfer.units import count

MINI_BATCH_SIZE = 100
"""Rows of a batch, where mini_batch_size says nothing."""
_LIBRARY_BATCH_SIZE = 10_000
"""The same for models of libraries, whose rows cost little."""
_JOINED_ROWS = 65_536
"""Rows of calls at the same time that are scored together."""
_POLL_S = 0.1
_THREADS = "OMP_NUM_THREADS"


class ScoringEngine:
    """Scores requests in worker processes.

    A batch that fails is tried again, max_retries times, then in halves, down to the row that does it: that row is an
    error of its own. So a model that raises, hangs, exits or is killed costs no other row, and no other process.

    version: has a scorer, and among its settings mini_batch_size, max_concurrency_per_instance (worker processes),
        max_retries and timeout.
    """

    def __init__(self, version: ModelVersion) -> None:
        assert version.scorer is not None
        self._scorer = scorer = version.scorer
        self._settings = settings = JobSettings(**version.settings)
        self._result = read_type(self._scorer.returns)[1]
        self._joined_rows = settings.mini_batch_size or _JOINED_ROWS
        self._turn = threading.Condition()
        self._calls: deque[_WaitingRows] = deque()
        self._name = str(version)
        environment = {**_threads_of(settings.max_concurrency_per_instance), **settings.environment}
        self._workers = [
            WorkerProcess(version.path, scorer, self._name, self._result, environment)
            for _ in range(settings.max_concurrency_per_instance)
        ]
        self._idle = list(self._workers)

    def generate(self, requests: Iterable[AnyRequest], cancel: Cancel | None = None) -> Iterator[Completion]:
        """Yield one completion a request, in order of finishing. See Engine."""
        stop = _Stop(cancel or threading.Event())
        size = MINI_BATCH_SIZE if self._scorer.loader == "script" else _LIBRARY_BATCH_SIZE
        batches = iter(_batches(requests, self._settings.mini_batch_size or size))
        with ThreadPoolExecutor(len(self._workers)) as pool:
            running: set[Future[list[Completion]]] = set()
            try:
                while not stop.is_set():
                    for batch in itertools.islice(batches, len(self._workers) - len(running)):
                        running.add(pool.submit(self._score, batch, stop))
                    if not running:
                        return
                    done, running = wait(running, _POLL_S, FIRST_COMPLETED)
                    for future in done:
                        yield from future.result()
            finally:
                stop.end()

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for rows."""
        with self._turn:
            return not self._calls and len(self._idle) == len(self._workers)

    def warm(self, cancel: Cancel | None = None) -> WarmModel:
        """Start the worker processes that wait, and let them load the model. Raises ModelUnusable."""
        start_s, cancel = time.perf_counter(), cancel or threading.Event()
        with self._turn:
            workers, self._idle = self._idle, []
        try:
            for worker in workers:
                worker.load(None, cancel)
        except ScoringError as error:
            raise ModelUnusable(f"Model {self._name} cannot be loaded: {error}") from None
        except Cancelled:
            raise Interrupted from None
        finally:
            with self._turn:
                self._idle += workers
                self._turn.notify_all()
        held = sum(worker.memory_bytes for worker in self._workers)
        path = ("cpu", self._scorer.loader, count(len(self._workers), "worker process", "worker processes"))
        return WarmModel(self._name, time.perf_counter() - start_s, held, path)

    def close(self) -> None:
        """End the worker processes."""
        for worker in self._workers:
            worker.close()

    def score(self, rows: pa.Array, cancel: Cancel) -> RowResults:
        """The results of rows, as JSON texts. Calls of several threads at the same time are joined to larger batches.
        Raises Cancelled once cancel is set."""
        with suppress(pa.ArrowInvalid):  # which is the error of a row, when it is scored
            rows = conform(rows, self._scorer)  # here, while a worker scores other rows
        call = _WaitingRows(rows, cancel)
        with self._turn:
            self._calls.append(call)
        while (calls := self._next_calls(call, cancel)) is not None:
            self._score_calls(*calls, cancel)
        if isinstance(call.outcome, BaseException):
            raise call.outcome
        assert call.outcome is not None
        return call.outcome

    def _next_calls(self, call: _WaitingRows, cancel: Cancel) -> tuple[WorkerProcess, list[_WaitingRows]] | None:
        """An idle worker and the calls that it is to score, by the thread of one of the waiting calls; None once that
        call has its results."""
        with self._turn:
            while call.outcome is None:
                if self._idle and self._calls:
                    first = self._calls.popleft()
                    calls, size = [first], len(first.rows)
                    while self._calls and self._calls[0].rows.type == first.rows.type and size < self._joined_rows:
                        calls.append(self._calls.popleft())
                        size += len(calls[-1].rows)
                    return self._idle.pop(), calls
                if cancel.is_set():
                    raise Cancelled
                self._turn.wait(_POLL_S)
        return None

    def _score_calls(self, worker: WorkerProcess, calls: Sequence[_WaitingRows], cancel: Cancel) -> None:
        try:
            try:
                rows = pa.concat_arrays([call.rows for call in calls])
                size = self._settings.mini_batch_size or len(rows)
                batches = [rows[start : start + size] for start in range(0, len(rows), size)]
                scored = joined([self._score_rows(worker, batch, cancel) for batch in batches])
            finally:
                self._release(worker)  # which scores other rows, while these become texts
            texts = RowResults(encode(scored.values, self._scorer.returns), scored.errors)
            start = 0
            for call in calls:
                call.end(texts.part(start, len(call.rows)))
                start += len(call.rows)
        except Cancelled as error:  # of one call; the others may be those of another statement
            for call in calls:
                if call.cancel.is_set():
                    call.end(error)
            with self._turn:
                self._calls.extendleft(call for call in reversed(calls) if call.outcome is None)
        except BaseException as error:
            for call in calls:
                call.end(error)
            raise
        finally:
            with self._turn:
                self._turn.notify_all()

    def _release(self, worker: WorkerProcess) -> None:
        """Let others have a worker."""
        with self._turn:
            self._idle.append(worker)
            self._turn.notify_all()

    def _score(self, batch: Sequence[Predict], stop: Cancel) -> list[Completion]:
        """The completions of a batch; none once stop is set. Rows that nobody waits for any more are not scored."""
        rows = [(request, request.is_cancelled()) for request in batch]
        cancelled = [Completion(request, finish_reason="cancelled") for request, is_gone in rows if is_gone]
        wanted = [request for request, is_gone in rows if not is_gone]
        return cancelled + (self._score_wanted(wanted, stop) if wanted else [])

    def _score_wanted(self, batch: Sequence[Predict], stop: Cancel) -> list[Completion]:
        sql_type = batch[0].sql_type
        if problem := mismatch(self._scorer, sql_type):
            return [Completion(request, error=f"the model {problem}", finish_reason="error") for request in batch]
        try:
            rows = decode([request.text for request in batch], sql_type, self._scorer.input_type)
        except duckdb.Error as error:
            if len(batch) == 1:
                return [Completion(batch[0], error=str(error).partition("\n")[0], finish_reason="error")]
            middle = len(batch) // 2
            return [*self._score_wanted(batch[:middle], stop), *self._score_wanted(batch[middle:], stop)]
        with self._turn:
            self._turn.wait_for(lambda: bool(self._idle))
            worker = self._idle.pop()
        try:
            scored = self._score_rows(worker, rows, stop)
        except Cancelled:
            return []
        finally:
            self._release(worker)
        outputs = encode(scored.values, self._scorer.returns).to_pylist()
        return [
            Completion(request, error=scored.errors[position], finish_reason="error")
            if position in scored.errors
            else Completion(request, Json(output))
            for position, (request, output) in enumerate(zip(batch, outputs, strict=True))
        ]

    def _score_rows(self, worker: WorkerProcess, rows: pa.Array, stop: Cancel) -> RowResults:
        """The results of a batch; rows that the model cannot take are not among what it gets."""
        refused = row_errors(rows, self._scorer)
        if not refused:
            return self._try(worker, rows, 1 + self._settings.max_retries, stop)
        taken = [position for position in range(len(rows)) if position not in refused]
        scored = RowResults(pa.nulls(0, self._result))
        if taken:
            scored = self._try(worker, rows.take(pa.array(taken)), 1 + self._settings.max_retries, stop)
        places = dict(zip(taken, range(len(taken)), strict=True))
        values = scored.values.take(pa.array([places.get(position) for position in range(len(rows))], pa.int64()))
        return RowResults(values, refused | {taken[position]: error for position, error in scored.errors.items()})

    def _try(self, worker: WorkerProcess, rows: pa.Array, tries: int, stop: Cancel) -> RowResults:
        error = ""
        for _ in range(tries):
            try:
                return RowResults(worker.score(conform(rows, self._scorer), self._settings.timeout, stop))
            except (ScoringError, pa.ArrowInvalid) as failure:
                error = str(failure).partition("\n")[0]
        if len(rows) == 1:
            return RowResults(pa.nulls(1, self._result), {0: error})
        middle = len(rows) // 2
        return joined([self._try(worker, half, 1, stop) for half in (rows[:middle], rows[middle:])])


class _WaitingRows:
    """Rows that a thread waits for."""

    def __init__(self, rows: pa.Array, cancel: Cancel) -> None:
        self.rows = rows
        self.cancel = cancel
        self.outcome: RowResults | BaseException | None = None

    def end(self, outcome: RowResults | BaseException) -> None:
        """Let the thread have its results, or an error."""
        self.outcome = outcome


class _Stop:
    """Set when a Cancel is, and when nobody reads the completions any more."""

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        self._is_over = False

    def is_set(self) -> bool:
        return self._is_over or self._cancel.is_set()

    def end(self) -> None:
        self._is_over = True


def _threads_of(num_workers: int) -> dict[str, str]:
    """The environment in which workers share the cores, unless the user's has a number: n workers of all threads would
    wait for each other. OpenBLAS and MKL read the same variable."""
    if num_workers == 1 or _THREADS in os.environ:
        return {}
    return {_THREADS: str(max(1, num_cores() // num_workers))}


def _batches(requests: Iterable[AnyRequest], size: int) -> Iterator[list[Predict]]:
    """Requests in batches of rows of the same SQL type."""
    batch: list[Predict] = []
    for request in requests:
        assert isinstance(request, Predict)
        if batch and (len(batch) == size or request.sql_type != batch[0].sql_type):
            yield batch
            batch = []
        batch.append(request)
    if batch:
        yield batch
