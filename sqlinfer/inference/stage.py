"""What a stage of the pipeline is, and what all stages of one inference share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlinfer.config.job_settings import JobSettings
from sqlinfer.inference.cancellation import StopSignal
from sqlinfer.inference.failures import Failures
from sqlinfer.inference.job import Job
from sqlinfer.types import AnyRequest, Completion, Engine, ModelVersion

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Inference:
    """Requests of a job on their way to one model version."""

    job: Job
    """That counts them."""
    version: ModelVersion
    """That answers them."""
    engine: Engine
    """Of that version."""
    settings: JobSettings
    """What holds for this model."""
    failures: Failures
    """Where failed requests are noted, by key."""


NextStage = Callable[[Iterator[AnyRequest], StopSignal], Iterator[Completion]]
"""What a stage hands its requests to: the stage after it, or Engine.generate. Gives a completion a request, in order of
finishing, until the last one or until cancel is set."""

Stage = Callable[[NextStage, Inference, Iterator[AnyRequest], StopSignal], Iterator[Completion]]
"""Generates by the stages after it, which its first argument runs."""


@contextmanager
def closing(items: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """End an iterator, if it is a generator, when its reader ends, whatever ended that."""
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()
