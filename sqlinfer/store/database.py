"""One SQLite file for many threads and processes: opening, transactions, and what its errors mean.

Knows no table. WAL with synchronous=NORMAL: a killed process loses nothing that was committed; a power cut
may lose the transactions since the last checkpoint, and never harms the file. A file that is corrupt all the same is
rebuilt when it is opened.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from sqlinfer.errors import StoreUnusable
from sqlinfer.store import file, fork
from sqlinfer.store.migrations import MIGRATIONS, migrate
from sqlinfer.store.private_files import make_folder
from sqlinfer.store.rebuild import is_corruption, is_marked, mark, rebuild

TIMEOUT_S = 30.0
_MMAP_BYTES = 1 << 30
_ALL_PARTS, _FILE_ALONE = slice(None), slice(1)


class Database:
    """A file of the newest schema; path None is a private one that goes with the process.

    Readers come from a pool and not from threading.local: a thread that DuckDB made is a new thread to
    Python at each call, so a connection of its own would be opened for each chunk.
    """

    def __init__(self, path: Path | None, timeout_s: float = TIMEOUT_S) -> None:
        # A link may point elsewhere later, and a relative name too.
        self.path = path = None if path is None else Path(os.path.realpath(path))
        self._timeout_s = timeout_s
        self._pool: list[sqlite3.Connection] = []
        self._lock = threading.RLock()
        self._closed = False
        self._writer: sqlite3.Connection | None = None
        self._identity: file.Identity = ()
        self._pid = os.getpid()
        with self._meaning():
            if path is not None:
                make_folder(path.parent)
                if is_marked(path):
                    rebuild(path)
            try:
                self._start()
            except sqlite3.DatabaseError as error:
                if path is None or not is_corruption(error):
                    raise
                rebuild(path)
                self._start()
        fork.rest_before_forks(self)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for SELECTs; several threads may read at once."""
        if self.path is None:
            with self._lock, self._meaning():
                yield self._writing_connection()
            return
        with self._meaning():
            connection = self._borrow()
            try:
                yield connection
            finally:
                self._pool.append(connection)
                if self._closed:
                    self._drain()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection inside one transaction: committed at the end, rolled back by an exception."""
        with self.maintaining() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def maintaining(self, timeout_s: float | None = None) -> Iterator[sqlite3.Connection]:
        """The writing connection outside any transaction, for pragmas and VACUUM. timeout_s: not the store's."""
        with self._lock, self._meaning(), self._in_place():
            connection = self._writing_connection()
            self._check_identity()
            if timeout_s is None:
                yield connection
                return
            connection.execute(f"PRAGMA busy_timeout = {timeout_s * 1000:.0f}")
            try:
                yield connection
            finally:
                connection.execute(f"PRAGMA busy_timeout = {self._timeout_s * 1000:.0f}")

    def close(self) -> None:
        """Close the connections; those in use by other threads close when they are given back."""
        with self._lock:
            self._closed = True
            self._rest()

    def rest(self, wait_s: float) -> bool:
        """Close the connections that are not in use, and keep others out until go_on; False if a transaction goes on.

        They are opened again when they are wanted. A private database stays open: closed, it would be gone.
        """
        if not self._lock.acquire(timeout=wait_s):
            return False
        if self.path is not None:
            self._rest()
        return True

    def go_on(self) -> None:
        """Let others in again after rest."""
        self._lock.release()

    def _rest(self) -> None:
        with self._in_place():
            self._drain()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _borrow(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreUnusable(f"The store {self.path} is closed. Connect again.")
        file.check_not_inherited(self.path)
        try:
            return self._pool.pop()
        except IndexError:
            if self._writer is None:
                with self._lock:
                    self._writing_connection()
            with self._in_place():
                self._check_identity(_FILE_ALONE)
                return self._open()

    def _drain(self) -> None:
        while self._pool:
            try:
                self._pool.pop().close()
            except IndexError:
                return

    def _writing_connection(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreUnusable(f"The store {self.path or ''} is closed. Connect again.")
        file.check_not_inherited(self.path)
        if self.path is None and self._pid != os.getpid():
            raise StoreUnusable(
                "A store without a file belongs to the process that opened it. Connect again in this one."
            )
        if self._writer is None:
            self._start()
        assert self._writer is not None
        return self._writer

    def _start(self) -> None:
        """Open the writing connection; while it is open, the file's parts stay what they are."""
        if self.path is None:
            self._writer = self._prepared()
            return
        with self._in_place():
            if self._identity:
                self._check_identity(_FILE_ALONE)
            else:
                file.create(self.path)
            writer = self._prepared()
            self._identity = file.identity(self.path)
            self._writer = writer

    def _check_identity(self, parts: slice = _ALL_PARTS) -> None:
        if self.path is not None and file.identity(self.path)[parts] != self._identity[parts]:
            raise StoreUnusable(
                f"{self.path} or its log was replaced or deleted while it was open: it was found corrupt and "
                "rebuilt, or another program replaced it. Connect again."
            )

    def _in_place(self) -> AbstractContextManager[None]:
        return nullcontext() if self.path is None else file.in_place(self.path)

    def _open(self) -> sqlite3.Connection:
        if self.path is None:
            # SQLite deletes a database named "" itself, also when the process is killed.
            connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        else:
            connection = file.connect(self.path, self._timeout_s)
        connection.text_factory = _text
        for pragma in (
            "synchronous = NORMAL",
            f"mmap_size = {_MMAP_BYTES}",
            "foreign_keys = ON",
            "wal_autocheckpoint = 16000",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _prepared(self) -> sqlite3.Connection:
        connection = self._open()
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (have,) = connection.execute("PRAGMA user_version").fetchone()
        if have > len(MIGRATIONS):
            raise StoreUnusable(
                f"{self.path} was written by a newer sqlinfer: its schema is version {have}, this sqlinfer supports "
                f"{len(MIGRATIONS)}. Upgrade: pip install --upgrade sqlinfer"
            )
        if self.path is not None:
            self._use_wal(connection)
        if have < len(MIGRATIONS):
            connection.execute("BEGIN IMMEDIATE")
            try:
                migrate(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        # The first read in WAL mode makes the log and its index.
        connection.execute("PRAGMA schema_version").fetchone()

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # SQLite does not wait here when another process switches at the same moment.
        until = time.monotonic() + self._timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _meaning(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.DatabaseError, OSError) as error:
            if self.path is not None and is_corruption(error):
                with self._in_place():  # what has been set aside meanwhile says nothing about what is there now
                    if file.identity(self.path)[_FILE_ALONE] == self._identity[_FILE_ALONE]:
                        mark(self.path)
            raise StoreUnusable(self._explain(error)) from error

    def _explain(self, error: Exception) -> str:
        where = self.path or "the temporary store"
        message = str(error)
        if "locked" in message or "busy" in message:
            return (
                f"{where} has been locked by another process for {self._timeout_s:g} s. End that process, or set "
                "SQLINFER_HOME to another folder."
            )
        if is_corruption(error):
            return (
                f"{where} is corrupt ({message}). Run the command again: it moves the file aside under a dated name "
                "and recovers the registered models into a new one."
            )
        if "full" in message or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"The disk is full: {where} cannot grow, not even to delete answers. Delete other files on that disk, "
                "or set SQLINFER_HOME to a folder on another one."
            )
        return f"{where} cannot be used: {message}. Check disk space and permissions, or set SQLINFER_HOME."


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


def printable(text: str) -> str:
    """The text with lone surrogates, which SQLite does not bind, as question marks."""
    return text.encode("utf-8", "replace").decode()
