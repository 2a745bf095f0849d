"""Ctrl-C and SIGTERM: running statements stop at once, and finished answers are kept."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from sqlinfer.cli.failures import INTERRUPTED, echo_interrupted
from sqlinfer.units import count

if TYPE_CHECKING:
    from sqlinfer.inference.counters import JobCounters
    from sqlinfer.sql import Session

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPT_S = 0.2
_GRACE_S = 0.7
"""How long what was stopped may take to end by itself; loading a large model cannot be interrupted."""


@contextmanager
def stopping(sessions: Callable[[], Iterable[Session]]) -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C and SIGTERM stop the sessions that there are then, and a second one ends the process, as does
    what does not stop in time; gives whether one came."""
    came, ended = threading.Event(), threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        came.set()
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        threading.Thread(target=interrupt, daemon=True).start()

    def interrupt() -> None:
        until_s = time.monotonic() + _GRACE_S
        while time.monotonic() < until_s:
            for session in list(sessions()):  # again and again: a statement that begins just now forgets the stop
                session.interrupt()
            if ended.wait(_INTERRUPT_S):
                return
        _leave(list(sessions()))

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield came.is_set
    finally:
        ended.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(sessions: Iterable[Session]) -> None:
    """End the process as it is, with the answers kept and the ends of the jobs recorded."""
    try:
        for session in sessions:
            job, store = session.evaluator.job, session.runtime.store
            store.answers.flush()
            if job.job_id is not None:
                store.jobs.finish(job.job_id, "interrupted", None, (), **job.counts.as_record())
                echo_interrupted(stop_message(job.job_id, job.counts))
        sys.stdout.flush()
    finally:
        os._exit(INTERRUPTED)


def stop_message(job_id: int | None, counts: JobCounters) -> str:
    """What is kept of a stopped run, and how to go on."""
    kept = count(counts.generated, "new answer")
    return f"Stopped: job {job_id} keeps {kept}. Run the same command again to go on."
