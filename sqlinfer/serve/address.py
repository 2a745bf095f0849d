"""Where the server is found: its socket, its files in the state folder, the extension of this installation."""

from __future__ import annotations

import socket
from pathlib import Path

from sqlinfer.errors import SqlinferError
from sqlinfer.serve.wire import Message, receive, send
from sqlinfer.store import state_folder

EXTENSION = Path(__file__).with_name("sqlinfer.duckdb_extension")
"""The extension that this installation has, if it has one."""
TOKEN = "SQLINFER_TOKEN"
_LONGEST_PATH = 103
"""What every system takes as the path of a socket."""


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
    """What a server says that nobody started by hand."""
    return state_folder() / "serve.log"


def dial(address: str, token: str = "") -> socket.socket:
    """A connection to a server: the path of its socket, or HOST:PORT. Raises OSError if none answers there."""
    if address.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SqlinferError(f"{address} is no address of a server: HOST:PORT, or the path of its socket")
    connection = socket.create_connection((host.strip("[]"), int(port)))
    send(connection, ["token", token])
    _answer(connection, address)
    return connection


def ask(address: str, message: Message, token: str = "") -> Message:
    """What a server answers to one message. Raises OSError if none is there, SqlinferError with the error it gives."""
    with dial(address, token) as connection:
        send(connection, message)
        return _answer(connection, address)


def _answer(connection: socket.socket, address: str) -> Message:
    answer = receive(connection)
    if not answer:
        raise SqlinferError(f"the server at {address} hung up; its log may say why: {log_path()}")
    if answer[0] != "ok":
        raise SqlinferError(answer[1] or "the server gave an error without a text")
    return answer[1:]
