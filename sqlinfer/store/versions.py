"""Model versions as rows of the store; knows no files."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlinfer.types import ModelVersion, Parameters, Scorer

_COLUMNS = "name, version, source, path, fingerprint, revision, task, dtype, parameters, trusted, settings, scorer"


def add_version(connection: sqlite3.Connection, model: ModelVersion) -> int:
    """Add the next version of model.name, or find the one with its fingerprint; the version's number."""
    connection.execute("INSERT OR IGNORE INTO models (name) VALUES (?)", (model.name,))
    settings = json.dumps(dict(model.settings))
    same = connection.execute(
        "SELECT version FROM versions WHERE name = ? AND fingerprint = ?", (model.name, model.fingerprint)
    ).fetchone()
    if same:
        # The same files may have come to lie elsewhere.
        connection.execute(
            "UPDATE versions SET source = ?, path = ?, revision = ?, settings = ? WHERE name = ? AND version = ?",
            (model.source, str(model.path), model.revision, settings, model.name, same[0]),
        )
        return int(same[0])
    connection.execute("UPDATE models SET last_version = last_version + 1 WHERE name = ?", (model.name,))
    (version,) = connection.execute("SELECT last_version FROM models WHERE name = ?", (model.name,)).fetchone()
    parameters = json.dumps({name: value for name, value in asdict(model.parameters).items() if value is not None})
    connection.execute(
        f"INSERT INTO versions ({_COLUMNS}, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            model.name,
            version,
            model.source,
            str(model.path),
            model.fingerprint,
            model.revision,
            model.task,
            model.dtype,
            parameters,
            model.trusted,
            settings,
            "" if model.scorer is None else json.dumps(asdict(model.scorer)),
            time.time(),
        ),
    )
    return int(version)


def read_versions(connection: sqlite3.Connection, name: str | None = None) -> Sequence[ModelVersion]:
    """All versions of a name, or of all names, in order of name and version."""
    rows = connection.execute(
        f"SELECT {_COLUMNS}, description FROM versions JOIN models USING (name) "
        "WHERE name = coalesce(?, name) ORDER BY name, version",
        (name,),
    ).fetchall()
    tags = connection.execute(
        "SELECT name, version, tag, value FROM tags WHERE name = coalesce(?, name) ORDER BY version, tag", (name,)
    ).fetchall()
    return [_model(row, tags) for row in rows]


def _model(row: Sequence[Any], tags: Sequence[tuple[str, int, str, str]]) -> ModelVersion:
    name, version, source, path, fingerprint, revision, task, dtype, parameters, trusted, settings, scorer, about = row
    defaults = json.loads(parameters)
    if "stop" in defaults:
        defaults["stop"] = tuple(defaults["stop"])
    return ModelVersion(
        name,
        version,
        source,
        Path(path),
        fingerprint,
        revision,
        task,
        dtype,
        Parameters(**defaults),
        description=about,
        tags={tag: value for owner, which, tag, value in tags if owner == name and which in (0, version)},
        trusted=bool(trusted),
        settings=json.loads(settings),
        scorer=_scorer(json.loads(scorer)) if scorer else None,
    )


def _scorer(fields: dict[str, Any]) -> Scorer:
    read: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Scorer(**read)
