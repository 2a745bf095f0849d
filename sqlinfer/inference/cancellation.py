"""Waiting that ends when nobody wants what is waited for: a stop of the user, or a deadline. Knows no engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from sqlinfer.errors import Interrupted
from sqlinfer.types import Cancel

POLL_S = 0.2
"""How often a wait looks whether it was cancelled."""


class StopSignal(Cancel, Protocol):
    """A Cancel that can be waited for: a threading.Event, or what behaves as one."""

    def wait(self, timeout: float) -> bool:
        """Sleep; whether it was set meanwhile."""
        ...


class Deadline:
    """A StopSignal that is also set once time.monotonic() has passed deadline_s; None is never."""

    def __init__(self, cancel: StopSignal, deadline_s: float | None) -> None:
        self._cancel = cancel
        self._deadline_s = deadline_s

    def is_set(self) -> bool:
        return self._cancel.is_set() or (self._deadline_s is not None and time.monotonic() > self._deadline_s)

    def wait(self, timeout: float) -> bool:
        if self._deadline_s is not None:
            timeout = min(timeout, max(0.0, self._deadline_s - time.monotonic()))
        return self._cancel.wait(timeout) or self.is_set()


def wait_for(wait: Callable[[float], bool], cancel: StopSignal) -> None:
    """Wait until wait(seconds) is true; raises Interrupted if cancel is set before."""
    while not wait(POLL_S):
        if cancel.is_set():
            raise Interrupted


@contextmanager
def holding(lock: threading.Lock, cancel: StopSignal) -> Iterator[None]:
    """Hold a lock inside; raises Interrupted if cancel is set before it is free."""
    wait_for(lambda seconds: lock.acquire(timeout=seconds), cancel)
    try:
        yield
    finally:
        lock.release()
