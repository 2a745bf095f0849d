"""Leases on requests: which keys a process is computing, so that other processes wait for them (single flight).

A lease ends with its process: one that is dead, or has shown no sign of life for ten minutes, holds no key.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Collection, Sequence

from sqlinfer.store.database import Database
from sqlinfer.store.keys import KEY_BYTES
from sqlinfer.store.process import SILENT_S, is_alive, process_identity

_TOUCH_S = 5.0


class Lease:
    """The keys that one job is computing; release it when the job ends."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lease_id: int | None = None
        self._touched_s = time.monotonic()

    def take(self, wanted: Sequence[bytes], in_flight: Collection[bytes]) -> set[bytes]:
        """Lease the wanted keys besides those in flight; returns those that other processes hold, which stay theirs."""
        with self._database.writing() as connection:
            theirs = _leased(connection, self._lease_id)
            taken = {key for key in wanted if key in theirs}
            mine = b"".join([*in_flight, *(key for key in wanted if key not in taken)])
            row = (os.getpid(), process_identity(), time.time(), mine)
            if self._lease_id is None:
                insert = "INSERT INTO claims (pid, process, touched, keys) VALUES (?, ?, ?, ?)"
                self._lease_id = connection.execute(insert, row).lastrowid
            else:
                # Another process may have thought this one dead and forgotten it: then the row is new again.
                connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)", (self._lease_id, *row))
        self._touched_s = time.monotonic()
        return taken

    def touch(self) -> None:
        """Renew the lease: show that the process is alive."""
        if self._lease_id is not None and time.monotonic() - self._touched_s >= _TOUCH_S:
            self._touched_s = time.monotonic()
            with self._database.writing() as connection:
                connection.execute("UPDATE claims SET touched = ? WHERE claim_id = ?", (time.time(), self._lease_id))

    def release(self) -> None:
        """Give the keys back."""
        if self._lease_id is not None:
            with self._database.writing() as connection:
                connection.execute("DELETE FROM claims WHERE claim_id = ?", (self._lease_id,))
            self._lease_id = None


def _leased(connection: sqlite3.Connection, except_id: int | None) -> set[bytes]:
    """The keys that living processes hold; leases of dead ones are deleted. except_id: a lease that is left out."""
    now = time.time()
    keys: set[bytes] = set()
    others = connection.execute(
        "SELECT claim_id, pid, process, touched, keys FROM claims WHERE claim_id IS NOT ?", (except_id,)
    ).fetchall()
    for claim_id, pid, process, touched, joined in others:
        # The clock may have been set back since: what was touched in the future is old too.
        if abs(now - touched) < SILENT_S and is_alive(pid, process, touched):
            keys.update(joined[at : at + KEY_BYTES] for at in range(0, len(joined), KEY_BYTES))
        else:
            connection.execute("DELETE FROM claims WHERE claim_id = ?", (claim_id,))
    return keys
