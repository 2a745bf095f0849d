"""The schema of the store file, as a list of SQL scripts; script number n leads to version n.

A script that was released never changes: a change of the schema is one more script.
"""

from __future__ import annotations

import sqlite3

_FIRST = """
CREATE TABLE models (
    name TEXT PRIMARY KEY,
    description TEXT NOT NULL DEFAULT '',
    last_version INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE versions (
    name TEXT NOT NULL REFERENCES models ON DELETE CASCADE,
    version INTEGER NOT NULL,
    source TEXT NOT NULL,
    revision TEXT,
    path TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    task TEXT NOT NULL,
    dtype TEXT NOT NULL,
    parameters TEXT NOT NULL,
    trusted INTEGER NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (name, version)
) WITHOUT ROWID;
CREATE TABLE aliases (
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (name, alias),
    FOREIGN KEY (name, version) REFERENCES versions ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE tags (
    name TEXT NOT NULL REFERENCES models ON DELETE CASCADE,
    version INTEGER NOT NULL,
    tag TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name, version, tag)
) WITHOUT ROWID;
CREATE TABLE default_models (
    task TEXT PRIMARY KEY,
    name TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE file_hashes (
    path TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    hash TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE origins (
    origin_id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    function TEXT NOT NULL,
    UNIQUE (fingerprint, function)
);
CREATE TABLE answers (
    key BLOB PRIMARY KEY,
    text TEXT NOT NULL,
    origin_id INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    finish_reason TEXT NOT NULL,
    truncated INTEGER NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE jobs (
    job_id INTEGER PRIMARY KEY AUTOINCREMENT,
    statement TEXT NOT NULL,
    state TEXT NOT NULL,
    started REAL NOT NULL,
    touched REAL NOT NULL,
    ended REAL,
    pid INTEGER NOT NULL,
    process TEXT NOT NULL,
    models TEXT NOT NULL,
    settings TEXT NOT NULL,
    rows INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    known INTEGER NOT NULL DEFAULT 0,
    generated INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,
    error TEXT
);
CREATE TABLE errors (
    job_id INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    key BLOB NOT NULL,
    function TEXT NOT NULL,
    model TEXT NOT NULL,
    excerpt TEXT NOT NULL,
    message TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (job_id, key)
) WITHOUT ROWID;
CREATE TABLE speeds (
    speed_id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL
);
CREATE INDEX speeds_of_model ON speeds (fingerprint, speed_id);
"""

_CLAIMS_AND_SWITCHES = """
CREATE TABLE claims (
    claim_id INTEGER PRIMARY KEY AUTOINCREMENT,
    pid INTEGER NOT NULL,
    process TEXT NOT NULL,
    touched REAL NOT NULL,
    keys BLOB NOT NULL
);
CREATE TABLE switches (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
"""

_JOBS = """
ALTER TABLE versions ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
ALTER TABLE jobs ADD COLUMN expected INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN batch_fill REAL NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN phases TEXT NOT NULL DEFAULT '{}';
ALTER TABLE jobs ADD COLUMN peak_memory_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN peak_device_bytes INTEGER NOT NULL DEFAULT 0;
CREATE TABLE usage (
    job_id INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    function TEXT NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    PRIMARY KEY (job_id, function, model)
) WITHOUT ROWID;
"""

_SCRIPTS = """
ALTER TABLE versions ADD COLUMN script TEXT NOT NULL DEFAULT '';
"""

_REMOTE_MODELS = """
CREATE TABLE allowed_hosts (host TEXT PRIMARY KEY) WITHOUT ROWID;
ALTER TABLE jobs ADD COLUMN cost REAL DEFAULT 0;
ALTER TABLE usage ADD COLUMN cost REAL DEFAULT 0;
"""

_CUT_OFF = "ALTER TABLE jobs ADD COLUMN cut_off INTEGER NOT NULL DEFAULT 0"

_SCORERS = "ALTER TABLE versions RENAME COLUMN script TO scorer"

_LINEAGE = """
ALTER TABLE jobs ADD COLUMN written TEXT NOT NULL DEFAULT '{}';
CREATE TABLE comparisons (
    comparison_id INTEGER PRIMARY KEY,
    created REAL NOT NULL,
    result TEXT NOT NULL
);
"""

_SNAPSHOTS = "ALTER TABLE jobs ADD COLUMN snapshots TEXT NOT NULL DEFAULT '{}'"

_BATCH_FILES = """
CREATE TABLE batch_forms (
    form_id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    function TEXT NOT NULL,
    form TEXT NOT NULL,
    UNIQUE (fingerprint, function, form)
);
CREATE TABLE batch_requests (key BLOB PRIMARY KEY, form_id INTEGER NOT NULL REFERENCES batch_forms) WITHOUT ROWID;
"""

MIGRATIONS: tuple[str, ...] = (
    _FIRST,
    _CLAIMS_AND_SWITCHES,
    _JOBS,
    _SCRIPTS,
    _CUT_OFF,
    _SCORERS,
    _LINEAGE,
    _REMOTE_MODELS,
    _SNAPSHOTS,
    _BATCH_FILES,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the newest schema, inside the transaction that the caller has opened."""
    (have,) = connection.execute("PRAGMA user_version").fetchone()
    for number, script in enumerate(MIGRATIONS[have:], start=have + 1):
        for statement in script.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
