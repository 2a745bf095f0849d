"""The last comparisons of model versions, as the page of a project shows them. Knows nothing of what was compared."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlinfer.redact import redact_all
from sqlinfer.store.database import Database

_KEPT = 20


class Comparisons:
    """Keeps the last comparisons."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, result: Mapping[str, Any]) -> None:
        """Keep a comparison, without secrets."""
        with self._database.writing() as connection:
            row = (time.time(), json.dumps(redact_all(result), default=str))
            connection.execute("INSERT INTO comparisons (created, result) VALUES (?, ?)", row)
            connection.execute(
                "DELETE FROM comparisons WHERE comparison_id NOT IN "
                "(SELECT comparison_id FROM comparisons ORDER BY comparison_id DESC LIMIT ?)",
                (_KEPT,),
            )

    def clear(self) -> None:
        """Forget all."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM comparisons")

    def list(self) -> Sequence[tuple[float, Mapping[str, Any]]]:
        """The comparisons, newest first: when each was made (unix seconds), and the result."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT created, result FROM comparisons ORDER BY comparison_id DESC").fetchall()
        return [(created, json.loads(result)) for created, result in rows]
