"""The requests that a probe recorded: spooled to disk, so that memory does not grow with the rows.

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
CREATE TABLE shared (id INTEGER PRIMARY KEY, request BLOB, needs_weights INTEGER);
CREATE TABLE requests (key BLOB UNIQUE, route INTEGER, shared INTEGER, prefix TEXT, size INTEGER,
  text TEXT, files BLOB);
"""
_PREFIX = 256
_REMEMBERED = 65_536


class RequestSpool:
    """A set of requests by key, grouped by route.

    routes: of the requests, in order of coming.
    has_steps: whether one is a further step of its call.
    num_added: how many were added, those that prefer forgot among them.
    """

    def __init__(self) -> None:
        # SQLite unlinks a database named "" as it opens it: no text stays behind when the process is killed.
        self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;" + _SCHEMA)
        self._db.execute("BEGIN")
        self._lock = threading.Lock()
        self._shared: dict[Any, int] = {}
        self._num_shared = 0
        self.routes: list[Route] = []
        self.has_steps = False
        self.num_added = 0

    def add(self, requests: Iterable[AnyRequest], has_steps: bool = False) -> None:
        """Record requests with their keys and routes. has_steps: one is a further step of its call. Safe from several
        threads."""
        with self._lock:
            rows = [
                (
                    r.key,
                    self._route_id(r.route),
                    self._shared_id(r),
                    _prefix(r),
                    len(r.text),
                    _stored(r.text),
                    _packed(r),
                )
                for r in requests
            ]
            with _finding_room():
                added = self._db.executemany("INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            self.num_added += added.rowcount
            self.has_steps |= has_steps

    def count(self) -> int:
        """How many distinct requests are recorded."""
        return int(self._db.execute("SELECT count(*) FROM requests").fetchone()[0])

    def count_for_models(self) -> int:
        """How many of them need the weights of a model."""
        sql = "SELECT count(*) FROM requests JOIN shared ON shared.id = shared WHERE needs_weights"
        return int(self._db.execute(sql).fetchone()[0])

    def prefer(self, is_first: Callable[[Route], bool]) -> None:
        """Forget all other requests while there are requests of routes that come first."""
        first = [route for route in self.routes if is_first(route)]
        if first:
            where, route_ids = self._of(first)
            self._db.execute(f"DELETE FROM requests WHERE NOT {where}", route_ids)

    def by_model(self) -> list[tuple[ModelVersion, list[Route]]]:
        """The model versions of the requests, each with its routes."""
        used = {row[0] for row in self._db.execute("SELECT DISTINCT route FROM requests")}
        grouped: dict[str, tuple[ModelVersion, list[Route]]] = {}
        for route_id, route in enumerate(self.routes):
            if route_id in used:
                grouped.setdefault(route.version.fingerprint, (route.version, []))[1].append(route)
        return list(grouped.values())

    def requests(self, routes: Sequence[Route], every: int = 1) -> Iterator[AnyRequest]:
        """The requests of some routes: those that share an instruction together, then those whose fields share a
        prefix, and longest first.

        every: 10 gives one in ten of them.
        """
        where, route_ids = self._of(routes)
        in_order = "ORDER BY shared, prefix, size DESC, rowid"
        with _finding_room():
            rowids = self._db.execute(
                f"SELECT rowid FROM requests WHERE {where} AND rowid % ? = 0 {in_order}", [*route_ids, every]
            )
        shared = -1
        for (rowid,) in rowids:
            key, route_id, shared_id, text, packed = self._db.execute(
                "SELECT key, route, shared, text, files FROM requests WHERE rowid = ?", (rowid,)
            ).fetchone()
            if shared_id != shared:
                (stored,) = self._db.execute("SELECT request FROM shared WHERE id = ?", (shared_id,)).fetchone()
                shared, template = shared_id, pickle.loads(stored)
            text = text if isinstance(text, str) else text.decode("utf-8", "surrogatepass")
            files = pickle.loads(packed) if packed else ()
            yield replace(template, text=text, files=files, key=key, route=self.routes[route_id])

    def measure(self, routes: Sequence[Route]) -> tuple[int, int]:
        """How many requests some routes have, and how many characters their texts have in all."""
        where, route_ids = self._of(routes)
        row = self._db.execute(f"SELECT count(*), coalesce(sum(size), 0) FROM requests WHERE {where}", route_ids)
        num_requests, num_characters = row.fetchone()
        return num_requests, num_characters

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def _of(self, routes: Sequence[Route]) -> tuple[str, list[int]]:
        route_ids = [self._route_id(route) for route in routes]
        return f"route IN ({','.join('?' * len(route_ids))})", route_ids

    def _route_id(self, route: Route) -> int:
        for route_id, other in enumerate(self.routes):
            if other is route or (
                other.function is route.function
                and other.version.fingerprint == route.version.fingerprint
                and other.site == route.site
            ):
                return route_id
        self.routes.append(route)
        return len(self.routes) - 1

    def _shared_id(self, request: AnyRequest) -> int:
        template = replace(request, text="", files=(), key=b"", route=None)
        number = self._shared.get(template)
        if number is None:
            if len(self._shared) >= _REMEMBERED:  # instructions that differ from row to row: let go of old ones
                self._shared.clear()
            number = self._shared[template] = self._num_shared
            self._num_shared += 1
            self._db.execute(
                "INSERT INTO shared VALUES (?, ?, ?)", (number, pickle.dumps(template), request.needs_weights)
            )
        return number


@contextmanager
def _finding_room() -> Iterator[None]:
    """Say what a full disk means here."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreUnusable(
            f"The requests of a statement wait in a temporary file, which cannot grow ({error}). Make room in the "
            "folder for such files, or name another one in the environment: SQLITE_TMPDIR=/path. What was answered "
            "is kept."
        ) from error


def _prefix(request: AnyRequest) -> str | bytes:
    """What requests are ordered by, besides all that they share: so do they share prefixes."""
    return _stored(request.text[:_PREFIX]) if isinstance(request, Generate) and request.reorder else ""


def _packed(request: AnyRequest) -> bytes | None:
    return pickle.dumps(request.files) if request.files else None


def _stored(text: str) -> str | bytes:
    """SQLite holds UTF-8 alone: a text with a lone surrogate goes in as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text
