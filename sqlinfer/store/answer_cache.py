"""The answers that were generated, by key; each distinct request is generated once, ever.

Knows no model and no SQL function, only their names. Failed completions are no answers. Each statement
here yields one row or none: sqlite3 lets go of the interpreter at each row, and beside a busy Python thread
it gets it back only after milliseconds.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlinfer.errors import StoreUnusable
from sqlinfer.store.database import Database
from sqlinfer.store.keys import KEY_BYTES
from sqlinfer.store.outputs import decode, encode
from sqlinfer.types import AnyRequest, Completion, Output

_CHUNK = 2048
_FLUSH_S = 0.2
_FLUSH_ROWS = 1000
_INSERT_ROWS = 100

_WANTED = (
    "WITH RECURSIVE wanted (start, n) AS (SELECT 1, 0 UNION ALL SELECT start + 16, n + 1 FROM wanted "
    "WHERE start + 16 <= length(?1)) SELECT json_group_array(n), {columns} "
    "FROM wanted CROSS JOIN answers ON answers.key = substr(?1, start, 16)"
)
_TEXTS = _WANTED.format(columns="json_group_array(text)")
_COLUMNS = ("text", "prompt_tokens", "completion_tokens", "finish_reason", "truncated")
_COMPLETIONS = _WANTED.format(columns=", ".join(f"json_group_array({name})" for name in _COLUMNS))

_UNWIPED = "answers_unwiped"
"""The switch that is on from the deletion of answers until their texts are gone."""
_WIPE_S = 2.0

_Origin = tuple[str, str]


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it is stored.

    function, fingerprint: of the request's function and model.
    text: the encoded output, see outputs.
    prompt_tokens, completion_tokens: read and generated.
    finish_reason: why generation ended.
    truncated: whether the prompt was cut to fit.
    created: unix seconds.
    key: of the answer.
    """

    function: str
    fingerprint: str
    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    truncated: int
    created: int
    key: bytes


class AnswerCache:
    """Finds and keeps answers. An answer is committed within about 0.2 s of put, or by flush."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[bytes, tuple[Completion, _Origin]] = {}
        self._origin_ids: dict[_Origin, int] = {}
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._flushed = 0.0
        self._timer: threading.Timer | None = None
        self._failure: StoreUnusable | None = None

    @property
    def path(self) -> Path | None:
        """The file that holds the answers; None if they go with the process."""
        return self._database.path

    def texts(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """The texts, as they are kept, of those of the keys that have an answer."""
        texts = {key: _text(completion) for key, completion in self._among_waiting(keys).items()}
        for part in _chunks(keys):
            with self._database.reading() as connection:
                numbers, kept_texts = connection.execute(_TEXTS, (_joined(part),)).fetchone()
            texts.update(zip(map(part.__getitem__, json.loads(numbers)), json.loads(kept_texts), strict=True))
        return texts

    def outputs(self, requests: Mapping[bytes, AnyRequest]) -> dict[bytes, Output]:
        """The outputs of those of the requests, by key, that have an answer."""
        texts = self.texts(list(requests))
        return {key: decode(requests[key].output_type, text) for key, text in texts.items()}

    def completions(self, requests: Mapping[bytes, AnyRequest]) -> dict[bytes, Completion]:
        """The completions of those of the requests, by key, that have an answer."""
        keys = list(requests)
        completions = self._among_waiting(keys)
        for part in _chunks(keys):
            with self._database.reading() as connection:
                row = connection.execute(_COMPLETIONS, (_joined(part),)).fetchone()
            for number, text, prompt, completion, reason, cut in zip(*map(json.loads, row), strict=True):
                key = part[number]
                output = decode(requests[key].output_type, text)
                completions[key] = Completion(requests[key], output, prompt, completion, reason, bool(cut))
        return completions

    def put(self, completion: Completion, *, fingerprint: str, function: str) -> None:
        """Keep an answer under its request's key; one that is there already stays."""
        self.put_many((completion,), fingerprint=fingerprint, function=function)

    def put_many(self, completions: Iterable[Completion], *, fingerprint: str, function: str) -> None:
        """Keep answers of one model and one function, each under its request's key."""
        origin = (fingerprint, function)
        fresh = {}
        for completion in completions:
            if completion.output is None or completion.error is not None:
                raise ValueError(f"a failed completion is no answer: {completion.error}")
            key = completion.request.key
            if len(key) != KEY_BYTES:
                raise ValueError(f"a key has {KEY_BYTES} bytes, this one {len(key)}")
            fresh[key] = (completion, origin)
        with self._lock:
            failure, self._failure = self._failure, None
            self._waiting.update(fresh)
            due = len(self._waiting) >= _FLUSH_ROWS or time.monotonic() - self._flushed >= _FLUSH_S
            if self._waiting and not due and self._timer is None:
                self._timer = threading.Timer(_FLUSH_S, self._flush_late)
                self._timer.start()  # no daemon: an interpreter that ends waits for it
        if failure is not None:
            raise failure
        if due:
            self.flush()

    def flush(self) -> None:
        """Commit what was put."""
        with self._flushing:
            with self._lock:
                batch = dict(self._waiting)
                timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
            if batch:
                self._write(batch)
            with self._lock:
                self._flushed = time.monotonic()
                for key in batch:
                    self._waiting.pop(key, None)

    def stats(self) -> dict[str, Any]:
        """Counts: answers, text_bytes, file_bytes, and answers by function and by model fingerprint."""
        self.flush()
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT fingerprint, function, count(*), sum(length(CAST(text AS BLOB))) "
                "FROM answers JOIN origins USING (origin_id) GROUP BY origin_id ORDER BY fingerprint, function"
            ).fetchall()
        functions: dict[str, int] = {}
        models: dict[str, int] = {}
        for fingerprint, function, count, _ in rows:
            functions[function] = functions.get(function, 0) + count
            models[fingerprint] = models.get(fingerprint, 0) + count
        return {
            "path": None if self.path is None else str(self.path),
            "answers": sum(row[2] for row in rows),
            "text_bytes": sum(row[3] for row in rows),
            "file_bytes": 0 if self.path is None else self.path.stat().st_size,
            "functions": functions,
            "models": models,
        }

    def kept(self, function: str | None = None, model: str | None = None, limit: int = -1) -> Iterator[KeptAnswer]:
        """The answers, all or those of a function or a model fingerprint, newest first; limit: how many, -1 is all."""
        self.flush()
        with self._database.reading() as connection:
            for row in connection.execute(
                f"SELECT function, fingerprint, {', '.join(_COLUMNS)}, created, key "
                "FROM answers JOIN origins USING (origin_id) WHERE function = coalesce(?1, function) "
                "AND fingerprint = coalesce(?2, fingerprint) ORDER BY created DESC, key LIMIT ?3",
                (function, model, limit),
            ):
                yield KeptAnswer(*row)

    def clear(self, function: str | None = None, model: str | None = None) -> int:
        """Delete answers, all or those of a function or a model fingerprint; how many went.

        The texts are wiped from the file, not only unlinked, and the space goes back to the disk. While another process
        is reading they stay in the file's log (see is_wiped); the first store that closes after that wipes them.
        """
        self.flush()
        with self._database.maintaining() as connection:
            connection.execute("PRAGMA secure_delete = ON")
        with self._database.writing() as connection:
            gone = connection.execute(
                "DELETE FROM answers WHERE origin_id IN (SELECT origin_id FROM origins "
                "WHERE function = coalesce(?1, function) AND fingerprint = coalesce(?2, fingerprint))",
                (function, model),
            ).rowcount
            connection.execute("INSERT OR REPLACE INTO switches VALUES (?, 1)", (_UNWIPED,))
        self._wipe(_WIPE_S)
        return gone

    @property
    def is_wiped(self) -> bool:
        """Whether the texts of deleted answers are gone from the disk."""
        with self._database.reading() as connection:
            return connection.execute("SELECT 1 FROM switches WHERE name = ?", (_UNWIPED,)).fetchone() is None

    def _wipe(self, wait_s: float) -> None:
        """Empty the log, in which deleted texts stand, if no other process still reads it wait_s seconds later."""
        with self._database.maintaining(wait_s) as connection:
            connection.execute("PRAGMA secure_delete = OFF")
            with suppress(sqlite3.OperationalError):  # without it, the space is used again later
                connection.execute("VACUUM")
            with suppress(sqlite3.OperationalError):
                (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not is_busy:
                    connection.execute("DELETE FROM switches WHERE name = ?", (_UNWIPED,))

    def forget_unusable(self) -> int:
        """Delete answers whose requests failed after they came: a function could not use them; how many went."""
        self.flush()
        with self._database.writing() as connection:
            return connection.execute(
                "DELETE FROM answers WHERE key IN (SELECT failed.key FROM "
                "(SELECT key, max(created) AS last FROM errors GROUP BY key) AS failed JOIN answers AS kept "
                "ON kept.key = failed.key WHERE kept.created <= failed.last)"
            ).rowcount

    def close(self) -> None:
        """Commit what was put, stop the clock, and wipe what clear could not; the database stays open."""
        self.flush()
        with suppress(StoreUnusable):  # closed before, or replaced
            if not self.is_wiped:
                self._wipe(0)

    def _among_waiting(self, keys: Sequence[bytes]) -> dict[bytes, Completion]:
        # Before the file is read: a key that leaves the waiting ones meanwhile is in the file.
        if not self._waiting:
            return {}
        with self._lock:
            waiting = self._waiting
            return {key: waiting[key][0] for key in keys if key in waiting}

    def _flush_late(self) -> None:
        try:
            self.flush()
        except StoreUnusable as error:
            with self._lock:
                self._failure = error  # the next put raises it; the answers wait on

    def _write(self, batch: dict[bytes, tuple[Completion, _Origin]]) -> None:
        now = int(time.time())
        # Sorted, neighbours share a page of the tree.
        keys = sorted(batch)
        with self._database.writing() as connection:
            ids = {origin: self._origin_id(connection, origin) for origin in {origin for _, origin in batch.values()}}
            for at in range(0, len(keys), _INSERT_ROWS):
                part = keys[at : at + _INSERT_ROWS]
                bound: list[Any] = []
                for key in part:
                    completion, origin = batch[key]
                    bound += _row(completion, ids[origin], now)
                connection.execute(
                    "INSERT OR IGNORE INTO answers VALUES "
                    + ", ".join(["(?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?)"] * len(part)),
                    bound,
                )
        self._origin_ids.update(ids)

    def _origin_id(self, connection: sqlite3.Connection, origin: _Origin) -> int:
        if origin in self._origin_ids:
            return self._origin_ids[origin]
        connection.execute("INSERT OR IGNORE INTO origins (fingerprint, function) VALUES (?, ?)", origin)
        row = connection.execute("SELECT origin_id FROM origins WHERE fingerprint = ? AND function = ?", origin)
        return int(row.fetchone()[0])


def _row(completion: Completion, origin_id: int, now: int) -> tuple[Any, ...]:
    return (
        completion.request.key,
        _text(completion).encode("utf-8", "surrogatepass"),
        origin_id,
        completion.prompt_tokens,
        completion.completion_tokens,
        completion.finish_reason,
        completion.truncated,
        now,
    )


def _text(completion: Completion) -> str:
    return "" if completion.output is None else encode(completion.output)


def _chunks(keys: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    for at in range(0, len(keys), _CHUNK):
        yield keys[at : at + _CHUNK]


def _joined(keys: Sequence[bytes]) -> bytes:
    joined = b"".join(keys)
    if len(joined) != KEY_BYTES * len(keys):
        raise ValueError(f"a key has {KEY_BYTES} bytes")
    return joined
