"""Requests in, completions out, within a job: the one place where a model runs. Knows no SQL and no DuckDB."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from functools import partial

from sqlinfer.config.process_settings import environment, logging_level
from sqlinfer.inference.accounting import account
from sqlinfer.inference.budget import within_budget
from sqlinfer.inference.failures import Failures
from sqlinfer.inference.job import Job
from sqlinfer.inference.retry import retry
from sqlinfer.inference.single_flight import single_flight
from sqlinfer.inference.stage import Inference, NextStage, Stage
from sqlinfer.types import AnyRequest, Completion, ModelVersion

STAGES: tuple[Stage, ...] = (within_budget, account, single_flight, retry)
"""What requests pass, in this order, before the engine; completions come back the other way."""


_MINI_BATCH_SIZE = "mini_batch_size changes nothing: batches are filled by tokens, as far as the memory goes"


def infer(requests: Iterator[AnyRequest], job: Job, version: ModelVersion, failures: Failures) -> Generator[Completion]:
    """Run one model version. Each answer is cached before it is handed on; a request without a completion was computed
    by another process. failures: where to note them, by key.

    Raises Interrupted when the user stops it, and StoppedEarly at the job's budget and at its error threshold.
    """
    settings = job.runtime.settings.over(version.settings)
    job.check_error_threshold(failures, settings)
    if settings.mini_batch_size is not None and version.scorer is None:
        job.runtime.warn_once(_MINI_BATCH_SIZE)
    with logging_level(settings.logging_level), environment(settings.environment):
        engine = job.runtime.open_engine(replace(version, settings=asdict(settings)))
        inference = Inference(job, version, engine, settings, failures)
        generate: NextStage = engine.generate
        for stage in reversed(STAGES):
            generate = partial(stage, generate, inference)
        with job.computing_with(engine):
            yield from generate(requests, job.cancel)
