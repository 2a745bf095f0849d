"""The fingerprint of a model: a hash of its files' names and contents and of how it is registered.

Knows no registry. Big files are hashed once: their hashes are remembered with size and times.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlinfer.model_files import model_files, scorer_files
from sqlinfer.store.database import Database

_SETTLED_NS = 2_000_000_000


def fingerprint(path: Path, extra: Mapping[str, Any], content_hash: Callable[[Path], str] | None = None) -> str:
    """32 hex digits; extra: what the registration adds, such as dtype, task and parameters.

    With extra["trusted"], pickled weights and the model's own Python count too; with extra["scorer"], every file.
    """
    content_hash = content_hash or hash_content
    hasher = hashlib.blake2b(b"sqlinfer model 1", digest_size=16)
    files = scorer_files(path) if "scorer" in extra else model_files(path, bool(extra.get("trusted")))
    entries = [[file.relative_to(path).as_posix() if file != path else file.name, content_hash(file)] for file in files]
    hasher.update(json.dumps([entries, extra], sort_keys=True).encode())
    return hasher.hexdigest()


def remote_fingerprint(url: str, model: str, extra: Mapping[str, Any]) -> str:
    """That of a model behind an address, whose weights nobody here knows. extra: as of fingerprint."""
    identity = json.dumps([url, model, extra], sort_keys=True)
    return hashlib.blake2b(b"sqlinfer remote model 1" + identity.encode(), digest_size=16).hexdigest()


def hash_content(file: Path) -> str:
    """A hash of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class FileHashes:
    """Content hashes that are remembered until a file's size or times change."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __call__(self, file: Path) -> str:
        """The hash of a file's content."""
        stat = file.stat()
        identity = (str(file.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT hash FROM file_hashes WHERE path = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ?", identity
            ).fetchone()
        if row is not None:
            return str(row[0])
        content_hash = hash_content(file)
        after = file.stat()
        # A file written just now may change again within the same tick of the clock, and look the same.
        settled = time.time_ns() - max(after.st_mtime_ns, after.st_ctime_ns) > _SETTLED_NS
        if settled and (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == identity[1:]:
            with self._database.writing() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO file_hashes VALUES (?, ?, ?, ?, ?)", (*identity, content_hash)
                )
        return content_hash
