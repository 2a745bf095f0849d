"""A corrupt store: set aside under a dated name, and made anew with the registrations that can still be read.

Answers are not taken along: SQLite has no checksums, so an answer out of a corrupt file may be another text.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlinfer.store.migrations import migrate

_PARTS = ("", "-wal", "-shm")
_SALVAGED = ("models", "versions", "aliases", "tags", "default_models", "switches")
"""In an order that satisfies their foreign keys."""
_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_corruption(error: BaseException) -> bool:
    """Whether an error of SQLite says that the file itself is damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CODES


def mark(path: Path) -> None:
    """Note that a store was found corrupt while it was in use; whoever opens it next rebuilds it."""
    with suppress(OSError):
        _mark_of(path).touch(mode=0o600)


def is_marked(path: Path) -> bool:
    return _mark_of(path).exists()


def rebuild(path: Path) -> None:
    """Set a corrupt store aside and put a sound one in its place; says so on the log. One process does it."""
    with _alone(path.parent):
        if not is_marked(path) and _is_sound(path):
            return  # another process was quicker
        backup = _free_name(path)
        for part in _PARTS:
            with suppress(FileNotFoundError):
                path.with_name(path.name + part).rename(backup.with_name(backup.name + part))
        fresh = path.with_name(f".{path.name}.new")
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT, 0o600))
        num_versions = _salvage(backup, fresh)
        fresh.replace(path)
        _mark_of(path).unlink(missing_ok=True)
    logging.getLogger("sqlinfer").warning(
        "%s was corrupt. It is kept as %s, and a new one is made: %d registered model versions were read out of the "
        "old one (check `sqlinfer models list`); its answers will be asked again.",
        path, backup.name, num_versions,
    )  # fmt: skip


def _mark_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-corrupt")


def _is_sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError:
        return False


def _free_name(path: Path) -> Path:
    dated = f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
    names = [dated, *(f"{dated}-{number}" for number in range(2, 1000))]
    return next(free for name in names if not (free := path.with_name(name)).exists())


def _salvage(backup: Path, fresh: Path) -> int:
    """Make a new store and copy what can be read of the registry; the number of model versions."""
    with closing(sqlite3.connect(fresh, isolation_level=None)) as new:
        new.execute("PRAGMA foreign_keys = ON")
        new.execute("BEGIN")
        migrate(new)
        with closing(sqlite3.connect(backup)) as old:
            for table in _SALVAGED:
                with suppress(sqlite3.Error):  # what is beyond the damage is lost, what stands before it is kept
                    _copy(table, old, new)
        new.execute("COMMIT")
        return int(new.execute("SELECT count(*) FROM versions").fetchone()[0])


def _copy(table: str, old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    columns = [name for _, name, *_ in old.execute(f"PRAGMA table_info({table})").fetchall()]
    known = {name for _, name, *_ in new.execute(f"PRAGMA table_info({table})").fetchall()}
    names = ", ".join(name for name in columns if name in known)
    places = ", ".join("?" for name in columns if name in known)
    for row in old.execute(f"SELECT {names} FROM {table}"):
        with suppress(sqlite3.IntegrityError):
            new.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})", row)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While open, no other process rebuilds in this folder; where the system cannot lock folders, nothing holds one."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
