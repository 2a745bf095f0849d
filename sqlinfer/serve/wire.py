"""What goes over a socket: messages, each a list of texts or NULLs, as docs/shell.md describes. Knows nothing of them.

A message is four bytes for its size and then its texts; a text is four bytes for its size and then UTF-8; a NULL is
the size 0xFFFFFFFF and nothing more. Sizes are little-endian and do not count themselves.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence

from sqlinfer.errors import SqlinferError

Message = list[str | None]

_NULL = 0xFFFFFFFF
_SIZE = struct.Struct("<I")
MOST_BYTES = 1 << 30


def pack(message: Sequence[str | None]) -> bytes:
    r"""A message as bytes.

    >>> pack(["ok", None])
    b'\n\x00\x00\x00\x02\x00\x00\x00ok\xff\xff\xff\xff'
    """
    parts = [b""]
    for text in message:
        if text is None:
            parts.append(_SIZE.pack(_NULL))
        else:
            encoded = text.encode("utf-8", "replace")  # halves of surrogate pairs, which SQL does not take, become ?
            parts += (_SIZE.pack(len(encoded)), encoded)
    body = b"".join(parts)
    if len(body) >= _NULL:
        raise SqlinferError(f"a message of {len(body):,} bytes is too long; send fewer rows at once")
    return _SIZE.pack(len(body)) + body


def unpack(body: bytes) -> Message:
    r"""The texts of a message without its size.

    >>> unpack(pack(["ok", None, ""])[4:])
    ['ok', None, '']
    """
    message: Message = []
    at, end = 0, len(body)
    while at < end:
        if at + 4 > end:
            raise SqlinferError("a message ends in the middle of a text")
        (size,) = _SIZE.unpack_from(body, at)
        at += 4
        if size == _NULL:
            message.append(None)
            continue
        if at + size > end:
            raise SqlinferError("a message ends in the middle of a text")
        try:
            message.append(body[at : at + size].decode())
        except UnicodeDecodeError as error:
            raise SqlinferError(f"a text of a message is not UTF-8: {error.reason}") from None
        at += size
    return message


def send(connection: socket.socket, message: Sequence[str | None]) -> None:
    """Send one message."""
    connection.sendall(pack(message))


def receive(connection: socket.socket, most_bytes: int = MOST_BYTES, deadline_s: float | None = None) -> Message | None:
    """The next message; None if the peer has closed the connection. Raises SqlinferError for what is no message, and
    TimeoutError if it is not there whole at time.monotonic() deadline_s."""
    head = _read(connection, 4, deadline_s)
    if head is None:
        return None
    (size,) = _SIZE.unpack(head)
    if size > most_bytes:
        raise SqlinferError(f"a message of {size:,} bytes is longer than the {most_bytes:,} that are taken")
    body = _read(connection, size, deadline_s)
    return None if body is None else unpack(body)


def _read(connection: socket.socket, size: int, deadline_s: float | None) -> bytes | None:
    read = bytearray()
    while len(read) < size:
        if deadline_s is not None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            connection.settimeout(left_s)
        part = connection.recv(min(size - len(read), 1 << 20))
        if not part:
            return None
        read += part
    return bytes(read)
