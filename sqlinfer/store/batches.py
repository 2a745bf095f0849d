"""The requests that went out in batch files: of each, all that its answer is checked by and kept under, and no text.

Knows no file and no server.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlinfer.store.database import Database
from sqlinfer.types import AnyRequest, Choose, Embed, Generate, ModelVersion


@dataclass(frozen=True, slots=True)
class ExportedRequest:
    """A request whose answer is awaited.

    request: its form and its key; it has no text.
    fingerprint, function: of its model and its SQL function.
    """

    request: AnyRequest
    fingerprint: str
    function: str


class Batches:
    """Finds exported requests by key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, version: ModelVersion, requests: Sequence[AnyRequest]) -> None:
        """Keep what the answers of some requests are checked by."""
        with self._database.writing() as connection:
            for request in requests:
                form = (version.fingerprint, request.route.function.name, _form_of(request))
                connection.execute(
                    "INSERT OR IGNORE INTO batch_forms (fingerprint, function, form) VALUES (?, ?, ?)", form
                )
                connection.execute(
                    "INSERT OR REPLACE INTO batch_requests SELECT ?, form_id FROM batch_forms "
                    "WHERE fingerprint = ? AND function = ? AND form = ?",
                    (request.key, *form),
                )

    def find(self, keys: Iterable[bytes]) -> dict[bytes, ExportedRequest]:
        """Those of the keys that were exported."""
        exported = {}
        with self._database.reading() as connection:
            for key in keys:
                row = connection.execute(
                    "SELECT form, fingerprint, function FROM batch_requests JOIN batch_forms USING (form_id) "
                    "WHERE key = ?",
                    (key,),
                ).fetchone()
                if row is not None:
                    exported[key] = ExportedRequest(_request_of(row[0], key), *row[1:])
        return exported

    def count_pending(self) -> int:
        """How many exported requests have no answer."""
        with self._database.reading() as connection:
            sql = "SELECT count(*) FROM batch_requests WHERE key NOT IN (SELECT key FROM answers)"
            return int(connection.execute(sql).fetchone()[0])


def _form_of(request: AnyRequest) -> str:
    """All that an answer must fit: a schema, choices, or nothing.

    >>> _form_of(Choose("", ("a", "b")))
    '["choose", ["a", "b"]]'
    """
    match request:
        case Choose(choices=choices):
            return json.dumps(["choose", choices])
        case Embed():
            return json.dumps(["embed", ""])
        case Generate(schema=schema):
            return json.dumps(["generate", schema])
    raise ValueError(f"{type(request).__name__} is no request of a batch file")


def _request_of(form: str, key: bytes) -> AnyRequest:
    kind, value = json.loads(form)
    if kind == "choose":
        return Choose("", tuple(value), key=key)
    return Embed("", key=key) if kind == "embed" else Generate("", schema=value, key=key)
