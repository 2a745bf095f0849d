"""Where the server is found: its socket, its files in the state folder, the extension of this installation."""

from __future__ import annotations

from pathlib import Path

from sqlinfer.errors import SqlinferError
from sqlinfer.store import state_folder

EXTENSION = Path(__file__).with_name("sqlinfer.duckdb_extension")
"""The extension that this installation has, if it has one."""
TOKEN = "SQLINFER_TOKEN"
SERVER = "SQLINFER_SERVER"
"""The environment variable with the address of the server that a DuckDB may call."""
_LONGEST_PATH = 103
"""Bytes that every system takes as the path of a socket."""


def socket_path() -> Path:
    """The Unix socket of the server of this state folder."""
    path = state_folder() / "serve.sock"
    if len(str(path).encode()) > _LONGEST_PATH:
        raise SqlinferError(
            f"{path} is too long for the path of a socket ({_LONGEST_PATH} bytes at most); name a shorter state folder "
            "by SQLINFER_HOME"
        )
    return path


def functions_path() -> Path:
    """The SQL that gives a DuckDB the functions of the server of this state folder."""
    return state_folder() / "functions.sql"


def log_path() -> Path:
    """The log of a server that nobody started by hand."""
    return state_folder() / "serve.log"
