"""The record of one execution: counts while it runs, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlinfer.errors import Interrupted
from sqlinfer.sql.answerer import Answerer
from sqlinfer.sql.counts import Counts

_UPDATE_S = 1.0


@contextmanager
def recorded(answerer: Answerer, statement: str, settings: Mapping[str, Any] | None = None) -> Iterator[Counts]:
    """Record what happens inside as one job; inside another job it is part of that one."""
    if answerer.job_id is not None:
        yield answerer.counts
        return
    jobs = answerer.runtime.store.jobs
    answerer.counts = counts = Counts()
    answerer.job_id = job_id = jobs.start(statement, settings=settings)
    watch, answerer.progress = answerer.progress, _updating(answerer, watched=answerer.progress)
    try:
        yield counts
    except (KeyboardInterrupt, Interrupted) as error:
        _finish(answerer, "interrupted", str(error))
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


def _updating(answerer: Answerer, watched: Any) -> Any:
    updated_s = time.monotonic()

    def progress(counts: Counts) -> None:
        nonlocal updated_s
        watched(counts)
        now = time.monotonic()
        if now - updated_s >= _UPDATE_S and answerer.job_id is not None:
            updated_s = now
            answerer.runtime.store.jobs.update(answerer.job_id, **counts.as_dict())

    return progress


def _finish(answerer: Answerer, state: Any, error: str | None) -> None:
    jobs, counts, job_id = answerer.runtime.store.jobs, answerer.counts, answerer.job_id
    assert job_id is not None
    models = [str(version) for version in answerer.versions()]
    jobs.finish(job_id, state, error, models=models, **counts.as_dict())
    if answerer.failures:
        jobs.add_errors(
            job_id,
            [
                (key, failure.origin.function.name, str(failure.origin.version), failure.excerpt, failure.error)
                for key, failure in answerer.failures.items()
            ],
        )
