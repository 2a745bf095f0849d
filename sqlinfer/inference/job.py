"""The record of one execution: counts while it runs, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlinfer.config.process_settings import logging_level
from sqlinfer.errors import Interrupted, StoppedEarly
from sqlinfer.inference.counters import JobCounters
from sqlinfer.inference.progress import Progress
from sqlinfer.inference.runner import JobRunner

_UPDATE_S = 1.0


@contextmanager
def recorded(answerer: JobRunner, statement: str, settings: Mapping[str, Any] | None = None) -> Iterator[JobCounters]:
    """Record what happens inside as one job; inside another job it is part of that one."""
    if answerer.job_id is not None:
        yield answerer.counts
        return
    jobs, settings_layers = answerer.runtime.store.jobs, answerer.runtime.settings
    answerer.counts = counts = JobCounters()
    answerer.job_id = job_id = jobs.start(statement, settings={**(settings or {}), **settings_layers.as_record()})
    watch, answerer.progress = answerer.progress, _updating(answerer, watched=answerer.progress)
    if isinstance(watch, Progress):
        watch.reset()
    try:
        with logging_level(settings_layers.over().logging_level):
            yield counts
    except (KeyboardInterrupt, Interrupted) as error:
        _finish(answerer, "interrupted", str(error))
        raise
    except StoppedEarly as error:
        _finish(answerer, "stopped", str(error))
        raise
    except BaseException as error:
        _finish(answerer, "failed", str(error))
        raise
    else:
        _finish(answerer, "done", None)
    finally:
        answerer.job_id = None
        answerer.last_job_id = job_id
        answerer.progress = watch
        if isinstance(watch, Progress):
            watch.finish(counts)


def _updating(answerer: JobRunner, watched: Any) -> Any:
    updated_s = time.monotonic()

    def progress(counts: JobCounters) -> None:
        nonlocal updated_s
        watched(counts)
        now = time.monotonic()
        if now - updated_s >= _UPDATE_S and answerer.job_id is not None:
            updated_s = now
            answerer.runtime.store.jobs.update(answerer.job_id, **counts.as_record())
            _record_failures(answerer)

    return progress


def _finish(answerer: JobRunner, state: Any, error: str | None) -> None:
    jobs, counts, job_id = answerer.runtime.store.jobs, answerer.counts, answerer.job_id
    assert job_id is not None
    models = [str(version) for version in answerer.versions()] or sorted({model for _, model in counts.usage})
    jobs.finish(job_id, state, error, models=models, **counts.as_record())
    jobs.add_usage(job_id, [(*used, *amounts) for used, amounts in counts.usage.items()])
    _record_failures(answerer)


def _record_failures(answerer: JobRunner) -> None:
    failed, answerer.unrecorded = answerer.unrecorded, {}
    if failed and answerer.job_id is not None:
        answerer.runtime.store.jobs.add_errors(
            answerer.job_id,
            [(key, failure.function, failure.model, failure.excerpt, failure.error) for key, failure in failed.items()],
        )
