"""A corrupt store: set aside under a dated name, and made anew with the registrations that can still be read.

Answers are not taken along: SQLite has no checksums, so an answer out of a corrupt file may be another text.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from sqlinfer.store.file import alone, connect, create, parts
from sqlinfer.store.migrations import migrate

_TIMEOUT_S = 5.0
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
    """Set a corrupt store aside and put a sound one in its place; says so on the log. One process does it.

    Whoever has it open goes on with what was set aside, and is refused when it writes.
    """
    fresh = path.with_name(f".{path.name}.new")
    with alone(path):
        if is_marked(path) and not path.exists():  # who set it aside was killed before the new one had its name
            with suppress(FileNotFoundError):
                fresh.replace(path)
            _mark_of(path).unlink(missing_ok=True)
            return
        if not is_marked(path) and _is_sound(path):
            return  # another process was quicker
        mark(path)
        fresh.unlink(missing_ok=True)
        create(fresh)
        num_versions = _salvage(path, fresh)
        backup = _free_name(path)
        for part, kept in zip(parts(path), parts(backup), strict=True):
            with suppress(FileNotFoundError):
                part.rename(kept)
        fresh.replace(path)
        _mark_of(path).unlink(missing_ok=True)
    logging.getLogger("sqlinfer").warning(
        "%s was corrupt. It was moved to %s and replaced: %d registered model versions were recovered (check "
        "`sqlinfer models list`); its answers will be computed again.",
        path, backup.name, num_versions,
    )  # fmt: skip


def _mark_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-corrupt")


def _is_sound(path: Path) -> bool:
    try:
        with closing(connect(path, _TIMEOUT_S)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError:
        return False


def _free_name(path: Path) -> Path:
    dated = f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}"
    names = [dated, *(f"{dated}-{number}" for number in range(2, 1000))]
    return next(free for name in names if not (free := path.with_name(name)).exists())


def _salvage(corrupt: Path, fresh: Path) -> int:
    """Make a new store and copy what can be read of the registry; the number of model versions."""
    with closing(connect(fresh, _TIMEOUT_S)) as new:
        new.execute("PRAGMA foreign_keys = ON")
        new.execute("BEGIN")
        migrate(new)
        with closing(connect(corrupt, _TIMEOUT_S)) as old:
            for table in _SALVAGED:
                with suppress(sqlite3.Error):  # what is beyond the damage is lost, what stands before it is kept
                    _copy(table, old, new)
        new.execute("COMMIT")
        return int(new.execute("SELECT count(*) FROM versions").fetchone()[0])


def _copy(table: str, old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    columns = [name for _, name, *_ in old.execute(f"PRAGMA table_info({table})").fetchall()]
    new_columns = {name for _, name, *_ in new.execute(f"PRAGMA table_info({table})").fetchall()}
    names = ", ".join(name for name in columns if name in new_columns)
    placeholders = ", ".join("?" for name in columns if name in new_columns)
    for row in old.execute(f"SELECT {names} FROM {table}"):
        with suppress(sqlite3.IntegrityError):
            new.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({placeholders})", row)
