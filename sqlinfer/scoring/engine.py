"""An Engine whose model runs in processes of its own: batches of rows go to worker processes, several at a time."""

from __future__ import annotations

import atexit
import itertools
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import duckdb

from sqlinfer.config.job_settings import JobSettings
from sqlinfer.scoring.process import Cancelled, ScoringError, WorkerProcess
from sqlinfer.scoring.values import decode, encode, read_type
from sqlinfer.types import AnyRequest, Cancel, Completion, Json, ModelVersion, Predict

MINI_BATCH_SIZE = 100
"""Rows of a batch, where mini_batch_size says nothing."""
_POLL_S = 0.1


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
        self._idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        self._workers = [
            WorkerProcess(version.path, scorer.file, scorer.loader, str(version), self._result)
            for _ in range(settings.max_concurrency_per_instance)
        ]
        for worker in self._workers:
            self._idle.put(worker)

    def generate(self, requests: Iterable[AnyRequest], cancel: Cancel | None = None) -> Iterator[Completion]:
        """Yield one completion a request, in order of finishing. See Engine."""
        stop = _Stop(cancel or threading.Event())
        batches = iter(_batches(requests, self._settings.mini_batch_size or MINI_BATCH_SIZE))
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

    def close(self) -> None:
        """End the worker processes."""
        for worker in self._workers:
            worker.close()

    def _score(self, batch: Sequence[Predict], stop: Cancel) -> list[Completion]:
        """The completions of a batch; none once stop is set. Rows that nobody waits for any more are not scored."""
        rows = [(request, request.is_cancelled()) for request in batch]
        cancelled = [Completion(request, finish_reason="cancelled") for request, is_gone in rows if is_gone]
        wanted = [request for request, is_gone in rows if not is_gone]
        if not wanted:
            return cancelled
        worker = self._idle.get()
        try:
            return cancelled + self._try(worker, wanted, 1 + self._settings.max_retries, stop)
        except Cancelled:
            return []
        finally:
            self._idle.put(worker)

    def _try(self, worker: WorkerProcess, batch: Sequence[Predict], tries: int, stop: Cancel) -> list[Completion]:
        error = ""
        for _ in range(tries):
            try:
                rows = decode([request.text for request in batch], batch[0].sql_type, self._scorer.input_type)
                outputs = encode(worker.score(rows, self._settings.timeout, stop), self._scorer.returns)
                return [Completion(*pair) for pair in zip(batch, map(Json, outputs), strict=True)]
            except (ScoringError, duckdb.Error) as failure:
                error = str(failure).partition("\n")[0]
        if len(batch) == 1:
            return [Completion(batch[0], error=error, finish_reason="error")]
        middle = len(batch) // 2
        halves = batch[:middle], batch[middle:]
        return [completion for half in halves for completion in self._try(worker, half, 1, stop)]


class _Stop:
    """Set when a Cancel is, and when nobody reads the completions any more."""

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        self._is_over = False

    def is_set(self) -> bool:
        return self._is_over or self._cancel.is_set()

    def end(self) -> None:
        self._is_over = True


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


_OPEN: dict[tuple[object, ...], ScoringEngine] = {}
_OPEN_LOCK = threading.Lock()
_MOST_OPEN = 4


def open_scorer(version: ModelVersion) -> ScoringEngine:
    """The process's engine for a version under its settings; its workers wait for more between statements."""
    settings = JobSettings(**version.settings)
    environment = tuple(sorted(settings.environment.items()))
    bounds = (settings.mini_batch_size, settings.max_concurrency_per_instance, settings.max_retries, settings.timeout)
    key = (version.fingerprint, version.path, bounds, environment)
    with _OPEN_LOCK:
        engine = _OPEN.pop(key, None) or ScoringEngine(version)
        _OPEN[key] = engine
        if len(_OPEN) > _MOST_OPEN:
            _OPEN.pop(next(iter(_OPEN))).close()
    return engine


@atexit.register
def _close_all() -> None:
    while _OPEN:
        _OPEN.popitem()[1].close()
