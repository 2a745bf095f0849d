"""Settings of a job that are the whole process's while it runs: the logging level and environment variables."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2


@contextmanager
def logging_level(level: str | None) -> Iterator[None]:
    """Inside, the logger "sqlinfer" has this level; None leaves it."""
    log = logging.getLogger("sqlinfer")
    before = log.level
    if level is not None:
        log.setLevel(level.upper())
    try:
        yield
    finally:
        if level is not None:
            log.setLevel(before)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Inside, these environment variables are set."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
