"""The storage version of the database files that are made here; knows DuckDB, and no AI functions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

STORAGE_VERSION = "v1.5.0"
"""Of the oldest DuckDB that sqlinfer takes, so that each DuckDB that may stand beside it reads its files too, such as
the newest shell on PyPI; by default DuckDB 2.0 writes what 2.0 alone can read. All column types fit. What does not
(triggers, nested schemas, secure views) DuckDB refuses with a message that names the STORAGE_VERSION of ATTACH."""

_SETTING = "storage_compatibility_version"
_NO_FILE = re.compile(r":|[A-Za-z][\w+.-]+:|$")
""":memory:, and what DuckDB gives to an extension, such as md: and s3:."""


def open_database(path: str, read_only: bool, config: Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
    """Connect; a file that is made, now or by ATTACH, has STORAGE_VERSION, unless config names another version."""
    if not read_only:
        make_file(path, config)
    connection = duckdb.connect(path, read_only=read_only, config=dict(config))
    set_storage_version(connection, config)
    return connection


def make_file(path: str, config: Mapping[str, Any]) -> None:
    """Make the file of a database that is not there yet.

    The connection that follows is opened without the setting: DuckDB refuses two connections to one file in a process
    if their configurations differ, and others may be plain ones.
    """
    if _names_version(config) or _NO_FILE.match(path):
        return
    if not Path(os.path.expanduser(path)).exists():  # noqa: PTH111 - Path's raises where there is no such user
        duckdb.connect(path, config={**config, _SETTING: STORAGE_VERSION}).close()


def set_storage_version(connection: duckdb.DuckDBPyConnection, config: Mapping[str, Any]) -> None:
    """Let the files that ATTACH makes have STORAGE_VERSION; one that ATTACH names wins."""
    if not _names_version(config):
        with suppress(duckdb.InvalidInputException):  # a locked configuration stays as it is
            connection.execute(f"SET {_SETTING} = '{STORAGE_VERSION}'")


def _names_version(config: Iterable[str]) -> bool:
    return _SETTING in map(str.lower, config)  # DuckDB takes names in either case
