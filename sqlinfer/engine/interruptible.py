"""Runs Python code that may never end, as a chat template's may, so that it can be stopped. Knows no requests."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlinfer.types import Cancel

T = TypeVar("T")


class _Stopped(BaseException):
    """Raised in the thread that is to stop; no handler of Exception takes it for an error of the code's own."""


class _Work(threading.Thread, Generic[T]):
    """A thread that runs a function once, and keeps what it returns or raises."""

    def __init__(self, run: Callable[[], T]) -> None:
        super().__init__(name="sqlinfer-prepare", daemon=True)
        self._run_once = run
        self.results: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.results.append(self._run_once())
        except BaseException as error:  # noqa: BLE001 - raised where the caller waits
            self.error = error

    def stop(self) -> None:
        """Raise _Stopped in the thread, as soon as it runs Python code."""
        if self.ident is not None and self.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(_Stopped))


def run_interruptibly(run: Callable[[], T], cancel: Cancel | None, poll_s: float) -> T | None:
    """What a function returns; None if cancel was set before it ended, and then it is stopped.

    It runs on a thread of its own, or in the caller's if there is nothing to cancel it.
    """
    if cancel is None:
        return run()
    work = _Work(run)
    work.start()
    try:
        while work.is_alive() and not cancel.is_set():
            work.join(poll_s)
    finally:
        work.stop()
    if work.error is not None:
        raise work.error
    return work.results[0] if work.results else None
