"""Forks of a process that has stores open: the child must find none of SQLite's connections in use.

The child would inherit what SQLite remembers of its locks, and none of the locks: it would read and write unprotected.
So stores close what they have open before a fork, and both processes open it again when they want it.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

from sqlinfer.store import file

_WAIT_S = 1.0


class Rests(Protocol):
    """What has connections that it can close for a while."""

    def rest(self, wait_s: float) -> bool:
        """Close them and keep others out until go_on; False if they are still in use after wait_s seconds."""

    def go_on(self) -> None:
        """Let others in again."""


_databases: weakref.WeakSet[Rests] = weakref.WeakSet()
_resting: list[Rests] = []
_forking = threading.Lock()


def rest_before_forks(database: Rests) -> None:
    """Have it closed before each fork of this process, as long as it lives."""
    with file.opening:
        _databases.add(database)


def _before() -> None:
    _forking.acquire()
    with file.opening:
        databases = list(_databases)
    _resting.extend(database for database in databases if database.rest(_WAIT_S))
    file.opening.acquire()


def _after() -> None:
    file.opening.release()
    while _resting:
        _resting.pop().go_on()
    _forking.release()


def _after_in_child() -> None:
    file.note_fork()
    _after()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
