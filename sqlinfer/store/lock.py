"""The lock of the registry: while it is on, SQL can name registered and built-in models only, and change none."""

from __future__ import annotations

from sqlinfer.errors import SqlinferError
from sqlinfer.store.database import Database


class RegistryLock:
    """On or off, for every process that uses the store; the command line goes past it, SQL does not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def is_locked(self) -> bool:
        with self._database.reading() as connection:
            row = connection.execute("SELECT value FROM switches WHERE name = 'registry_locked'").fetchone()
        return row is not None and bool(row[0])

    def set(self, on: bool) -> None:
        """Lock or unlock."""
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO switches VALUES ('registry_locked', ?)", (on,))

    def check(self, statement: str) -> None:
        """Raise SqlinferError if it is locked; statement: what would change the registry, as "CREATE MODEL"."""
        if self.is_locked:
            raise SqlinferError(
                f"The registry is locked, so {statement} is refused in SQL. Use `sqlinfer models` on the command line, "
                "or unlock it: sqlinfer models unlock"
            )
