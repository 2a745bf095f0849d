"""The stage that counts what ends: requests, tokens, failures, and how fast the model was."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from sqlinfer.inference.cancellation import StopSignal
from sqlinfer.inference.failures import Failure
from sqlinfer.inference.stage import Inference, NextStage, closing
from sqlinfer.types import AnyRequest, Completion

_MEASURED_TOKENS = 1000
"""Fewer tokens than this say little about a model's speed."""

_log = logging.getLogger(__name__)


def account(
    generate: NextStage, inference: Inference, requests: Iterator[AnyRequest], cancel: StopSignal
) -> Iterator[Completion]:
    """Count completions, note failures, show progress. Raises StoppedEarly at the job's error threshold."""
    job, version, started_s = inference.job, inference.version, time.perf_counter()
    num_read = num_written = 0
    with closing(generate(requests, cancel)) as completions:
        for completion in completions:
            num_read += completion.prompt_tokens
            num_written += completion.completion_tokens
            job.note_completion(completion, getattr(inference.engine, "batch_fill", 0.0))
            if (failure := Failure.of(completion)) is not None:
                job.note_failure(completion.request.key, failure, inference.failures)
                job.check_error_threshold(inference.failures, inference.settings)
            job.report()
            yield completion
    seconds = time.perf_counter() - started_s
    _log.info("%s read %d tokens and wrote %d in %.1f s", version, num_read, num_written, seconds)
    if num_read + num_written >= _MEASURED_TOKENS and not cancel.is_set():
        job.runtime.store.jobs.record_speed(version.fingerprint, num_read, num_written, seconds)
