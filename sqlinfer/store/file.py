"""A store's file as the file system has it: made, opened, compared, held in its place; knows nothing of what is in it.

POSIX drops every lock that a process holds on a file when the process closes any descriptor of that file. SQLite's
locks are of this kind, and without them another process takes itself for the last one and removes the write-ahead log
under us. So a file that exists is opened here by `connect` only, and by no other code; all else goes by its name.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlinfer.errors import StoreUnusable

Identity = tuple[tuple[int, int] | None, ...]

opening = threading.RLock()
"""Held while a file is made or opened, and while the process forks."""

_PARTS = ("", "-wal", "-shm")


class Connection(sqlite3.Connection):
    """A connection to a named file, which this process knows of until it is closed."""

    def close(self) -> None:
        """Close it; one that was inherited stays as it is."""
        if self not in _inherited:
            super().close()
            _connections.discard(self)


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()
_inherited: list[Connection] = []
"""What was open when this process was forked; kept, because closing it would harm the parent's."""


def parts(path: Path) -> list[Path]:
    """The file, its write-ahead log and the log's index; not all of them need be there."""
    return [path.with_name(path.name + part) for part in _PARTS]


def create(path: Path) -> None:
    """Make the file if there is none; the owner alone may read what is there."""
    # SQLite gives its -wal and -shm files the mode of this one.
    with opening, suppress(FileExistsError):
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    if os.name == "posix":
        for part in parts(path):
            with suppress(FileNotFoundError):
                if part.stat().st_mode & 0o077:
                    part.chmod(0o600)


def connect(path: Path, timeout_s: float) -> Connection:
    """Open a file that exists, for any thread; transactions begin and end where the caller says so."""
    with opening:
        check_not_inherited(path)
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=rw",
            timeout=timeout_s,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
            uri=True,
        )
        _connections.add(connection)
        return connection


def identity(path: Path) -> Identity:
    """What lies under the names of the file's parts; the same as long as a connection that has read stays open."""
    return tuple(_inode(part) for part in parts(path))


@contextmanager
def in_place(path: Path) -> Iterator[None]:
    """While open, nobody sets the file aside."""
    with _folder_lock(path.parent, alone=False):
        yield


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """While open, nobody else opens the file, writes into it or sets it aside."""
    with _folder_lock(path.parent, alone=True):
        yield


def note_fork() -> None:
    """In a process just forked: SQLite believes that it has the parent's locks on what is open, and it has none."""
    _inherited.extend(_connections)


def check_not_inherited(path: Path | None) -> None:
    """Raise StoreUnusable in a process that was forked while a store was in use."""
    if _inherited:
        raise StoreUnusable(
            f"{path or 'The temporary store'} cannot be used here: this process ({os.getpid()}) was forked while its "
            'parent was using a store. Start it with multiprocessing.get_context("spawn").'
        )


@contextmanager
def _folder_lock(folder: Path, *, alone: bool) -> Iterator[None]:
    # A lock on the folder, not on the file: see above. Where the system has no such locks, nothing is held.
    try:
        import fcntl

        opened = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(opened)


def _inode(part: Path) -> tuple[int, int] | None:
    try:
        status = part.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
