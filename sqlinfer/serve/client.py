"""A client of a server, in Python: one message, one answer. The DuckDB extension is the other client."""

from __future__ import annotations

import socket
import time

from sqlinfer.errors import SqlinferError
from sqlinfer.serve.address import log_path
from sqlinfer.serve.wire import Message, receive, send


def exchange(address: str, message: Message, token: str = "", timeout_s: float | None = None) -> Message:
    """What a server answers to one message. Raises OSError if none is there or it does not answer in time,
    SqlinferError with the error that it answers."""
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    with connect(address, timeout_s) as connection:
        if not address.startswith("/"):
            send(connection, ["token", token])
            _answer(connection, address, deadline_s)
        send(connection, message)
        return _answer(connection, address, deadline_s)


def connect(address: str, timeout_s: float | None = None) -> socket.socket:
    """A connection to a server: the path of its socket, or HOST:PORT. Raises OSError if none is there."""
    if not address.startswith("/"):
        return socket.create_connection(split_address(address), timeout_s)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout_s)
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def split_address(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; brackets around the host are those of IPv6.

    >>> split_address("[::1]:7788")
    ('::1', 7788)
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise SqlinferError(f"{address!r} is no address of a server: HOST:PORT, or the path of its socket")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _answer(connection: socket.socket, address: str, deadline_s: float | None) -> Message:
    answer = receive(connection, deadline_s=deadline_s)
    if answer is None:
        raise SqlinferError(f"the server at {address} closed the connection; its log may say why: {log_path()}")
    match answer:
        case ["ok", *texts]:
            return texts
        case ["error", str(error)]:
            raise SqlinferError(error)
    raise SqlinferError(f"{address} answers in a way that is not understood; is it a sqlinfer server?")
