"""Runs jobs one after another and records each. Knows no rows and no engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlinfer.config.process_settings import logging_level
from sqlinfer.errors import Interrupted, StoppedEarly
from sqlinfer.inference.counters import JobCounters
from sqlinfer.inference.job import RETRY_HINT, Job, ShowProgress, show_nothing
from sqlinfer.inference.progress import Progress
from sqlinfer.inference.runtime import Runtime
from sqlinfer.scoring import logging_output

_log = logging.getLogger(__name__)


class JobRunner:
    """The jobs of one connection.

    cancel: ends them.
    show_progress, retry_hint: of jobs that bring none of their own.
    job: the one under way; between jobs, what counts on without a record.
    last_job_id: of the one before.
    """

    def __init__(
        self,
        runtime: Runtime,
        cancel: threading.Event | None = None,
        show_progress: ShowProgress = show_nothing,
        retry_hint: str = RETRY_HINT,
    ) -> None:
        self.runtime = runtime
        self.cancel = cancel or threading.Event()
        self.last_job_id: int | None = None
        self._show_progress = show_progress
        self._retry_hint = retry_hint
        self.job = self._unrecorded(JobCounters())

    def count_anew(self) -> None:
        """Count from zero, for no record."""
        self.job = self._unrecorded(JobCounters())

    @contextmanager
    def record(
        self,
        label: str,
        settings: Mapping[str, Any] | None = None,
        *,
        show_progress: ShowProgress | None = None,
        retry_hint: str | None = None,
        only: frozenset[bytes] | None = None,
    ) -> Iterator[Job]:
        """Record what happens inside as one job; inside another job it is part of that one. only: the keys of the
        requests that it may compute."""
        if self.job.job_id is not None:
            yield self.job
            return
        layers = self.runtime.settings
        job_id = self.runtime.store.jobs.start(label, settings={**(settings or {}), **layers.as_record()})
        show = show_progress or self._show_progress
        self.job = job = Job(self.runtime, self.cancel, show, retry_hint or self._retry_hint, only, job_id)
        if isinstance(show, Progress):
            show.reset()
        try:
            log = self.runtime.store.log_file(job_id)
            with logging_level(layers.over().logging_level), logging_output(log), job.reporting():
                yield job
        except BaseException as error:
            job.finish(_state(error), str(error))
            raise
        else:
            job.finish("done", None)
            for sentence in job.counts.one_sided():
                _log.warning("%s", sentence)
        finally:
            self.last_job_id = job_id
            self.job = self._unrecorded(job.counts)
            if isinstance(show, Progress):
                show.finish(job.counts)

    def _unrecorded(self, counts: JobCounters) -> Job:
        return Job(self.runtime, self.cancel, self._show_progress, self._retry_hint, counts=counts)


def _state(error: BaseException) -> str:
    """How a job ended that an error ended."""
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return "interrupted"
    return "stopped" if isinstance(error, StoppedEarly) else "failed"
