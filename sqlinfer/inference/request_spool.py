"""The questions that a probe recorded: a set on disk, so that memory does not grow with the rows.

Equal requests are one. It is private to one statement and goes away with it.
"""

from __future__ import annotations

import pickle
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlinfer.errors import StoreUnusable
from sqlinfer.inference.keyed_request import Route
from sqlinfer.types import AnyRequest, Generate, ModelVersion

_SCHEMA = """
CREATE TABLE shared (id INTEGER PRIMARY KEY, request BLOB);
CREATE TABLE pending (key BLOB UNIQUE, version INTEGER, shared INTEGER, beginning TEXT, size INTEGER,
  text TEXT);
"""
_BEGINNING = 256
_REMEMBERED = 65_536


class RequestSpool:
    """A set of requests by key, grouped by origin. has_steps: whether one is a further step of its call.
    num_added: how many were added, those that prefer forgot among them."""

    def __init__(self) -> None:
        # SQLite unlinks a database named "" as it opens it: no text stays behind when the process is killed.
        self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;" + _SCHEMA)
        self._db.execute("BEGIN")
        self._lock = threading.Lock()
        self._shared: dict[Any, int] = {}
        self._num_shared = 0
        self.origins: list[Route] = []
        self.has_steps = False
        self.num_added = 0

    def add(self, asked: Iterable[tuple[Route, AnyRequest]]) -> None:
        """Record requests; each one names its key. Safe from several threads."""
        with self._lock:
            rows = [
                (r.key, self._origin(origin), self._shared_id(r), _beginning(r), len(r.text), _stored(r.text))
                for origin, r in asked
            ]
            with _finding_room():
                added = self._db.executemany("INSERT OR IGNORE INTO pending VALUES (?, ?, ?, ?, ?, ?)", rows)
            self.num_added += added.rowcount

    def count(self) -> int:
        """How many distinct requests are recorded."""
        return int(self._db.execute("SELECT count(*) FROM pending").fetchone()[0])

    def prefer(self, is_first: Callable[[Route], bool]) -> None:
        """Forget all other requests while there are requests of origins that come first."""
        first = [origin for origin in self.origins if is_first(origin)]
        if first:
            where, numbers = self._of(first)
            self._db.execute(f"DELETE FROM pending WHERE NOT {where}", numbers)

    def by_model(self) -> list[tuple[ModelVersion, list[Route]]]:
        """The model versions that are asked, each with the origins that ask it and have requests."""
        used = {row[0] for row in self._db.execute("SELECT DISTINCT version FROM pending")}
        grouped: dict[str, tuple[ModelVersion, list[Route]]] = {}
        for number, origin in enumerate(self.origins):
            if number in used:
                grouped.setdefault(origin.version.fingerprint, (origin.version, []))[1].append(origin)
        return list(grouped.values())

    def requests(self, origins: Sequence[Route], every: int = 1) -> Iterator[tuple[Route, AnyRequest]]:
        """The requests of some origins, those that share an instruction together, then those whose columns begin alike,
        and longest first.

        every: 10 gives one in ten of them.
        """
        where, numbers = self._of(origins)
        in_order = "ORDER BY shared, beginning, size DESC, rowid"
        with _finding_room():
            rowids = self._db.execute(
                f"SELECT rowid FROM pending WHERE {where} AND rowid % ? = 0 {in_order}", [*numbers, every]
            )
        shared = -1
        for (rowid,) in rowids:
            key, number, shared_id, text = self._db.execute(
                "SELECT key, version, shared, text FROM pending WHERE rowid = ?", (rowid,)
            ).fetchone()
            if shared_id != shared:
                (stored,) = self._db.execute("SELECT request FROM shared WHERE id = ?", (shared_id,)).fetchone()
                shared, template = shared_id, pickle.loads(stored)
            text = text if isinstance(text, str) else text.decode("utf-8", "surrogatepass")
            origin = self.origins[number]
            yield origin, replace(template, text=text, key=key, route=origin)

    def measure(self, origins: Sequence[Route]) -> tuple[int, int]:
        """How many requests some origins have, and how many characters their texts have in all."""
        where, numbers = self._of(origins)
        row = self._db.execute(f"SELECT count(*), coalesce(sum(size), 0) FROM pending WHERE {where}", numbers)
        num_requests, num_characters = row.fetchone()
        return num_requests, num_characters

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def _of(self, origins: Sequence[Route]) -> tuple[str, list[int]]:
        numbers = [self._origin(origin) for origin in origins]
        return f"version IN ({','.join('?' * len(numbers))})", numbers

    def _origin(self, origin: Route) -> int:
        for number, known in enumerate(self.origins):
            if known is origin or (
                known.function is origin.function
                and known.version.fingerprint == origin.version.fingerprint
                and known.site == origin.site
            ):
                return number
        self.origins.append(origin)
        return len(self.origins) - 1

    def _shared_id(self, request: AnyRequest) -> int:
        template = replace(request, text="", key=b"", route=None)
        number = self._shared.get(template)
        if number is None:
            if len(self._shared) >= _REMEMBERED:  # instructions that differ from row to row: let go of old ones
                self._shared.clear()
            number = self._shared[template] = self._num_shared
            self._num_shared += 1
            self._db.execute("INSERT INTO shared VALUES (?, ?)", (number, pickle.dumps(template)))
        return number


@contextmanager
def _finding_room() -> Iterator[None]:
    """Say what a full disk means here."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreUnusable(
            f"The questions of a statement wait in a temporary file, which cannot grow ({error}). Make room in the "
            "folder for such files, or name another one in the environment: SQLITE_TMPDIR=/path. What was answered "
            "is kept."
        ) from error


def _beginning(request: AnyRequest) -> str | bytes:
    """What requests are put together by, besides all that they share."""
    return _stored(request.text[:_BEGINNING]) if isinstance(request, Generate) and request.reorder else ""


def _stored(text: str) -> str | bytes:
    """SQLite holds UTF-8 alone: a text with a lone surrogate goes in as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text
