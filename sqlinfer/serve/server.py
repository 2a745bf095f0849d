"""Listens on sockets and answers each connection in a thread of its own. Knows no SQL.

The Unix socket is for its owner alone; on TCP the first message must say the token.
"""

from __future__ import annotations

import fcntl
import hmac
import logging
import os
import selectors
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from sqlinfer.errors import Interrupted, SqlinferError
from sqlinfer.redact import redact
from sqlinfer.serve.calls import Caller, Calls
from sqlinfer.serve.wire import receive, send
from sqlinfer.store.private_files import open_file

_POLL_S = 0.5
_FIRST_BYTES = 4096
"""What is read of a connection that has not said its token."""
_GREETING_S = 10.0
_log = logging.getLogger("sqlinfer")


class Server:
    """Answers calls until it is stopped, or for idle_s seconds nobody has been connected. token: of TCP."""

    def __init__(self, calls: Calls, token: str = "", idle_s: float | None = None) -> None:
        self._calls = calls
        self._token = token
        self._idle_s = idle_s
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._num_connected = 0
        self._left_s = time.monotonic()
        self._owned: int | None = None
        self.stop = threading.Event()

    def listen(self, path: Path) -> None:
        """Listen on a Unix socket that its owner alone may use. Raises SqlinferError if a server does so already."""
        self._owned = _own(path.with_suffix(".lock"))
        with suppress(FileNotFoundError):
            path.unlink()  # of a server that was killed
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        self._add(listener, is_local=True)

    def listen_on_tcp(self, host: str, port: int) -> str:
        """Listen on TCP too; the address, with the port that was taken if it is 0."""
        if not self._token:
            raise SqlinferError("a server on TCP needs a token")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        self._add(listener, is_local=False)
        return f"{host}:{listener.getsockname()[1]}"

    def run(self) -> None:
        """Answer until it is time to stop."""
        while not self.stop.is_set() and not self._is_idle():
            for key, _ in self._selector.select(_POLL_S):
                assert isinstance(key.fileobj, socket.socket)
                with suppress(OSError):  # it hung up already
                    connection, _ = key.fileobj.accept()
                    with self._lock:
                        self._num_connected += 1
                    threading.Thread(target=self._serve, args=(connection, key.data), daemon=True).start()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            if key.fileobj.family == socket.AF_UNIX:
                Path(key.fileobj.getsockname()).unlink(missing_ok=True)
            key.fileobj.close()
        if self._owned is not None:
            os.close(self._owned)  # another server may start while this one comes to its end
        self._calls.close()

    def _add(self, listener: socket.socket, is_local: bool) -> None:
        listener.listen(128)
        self._selector.register(listener, selectors.EVENT_READ, is_local)

    def _is_idle(self) -> bool:
        with self._lock:
            left = self._num_connected == 0 and time.monotonic() - self._left_s
            return self._idle_s is not None and left is not False and left > self._idle_s

    def _serve(self, connection: socket.socket, is_local: bool) -> None:
        try:
            with connection, suppress(OSError):
                if is_local or self._is_greeted(connection):
                    self._answer(connection, is_local)
        finally:
            with self._lock:
                self._num_connected -= 1
                self._left_s = time.monotonic()

    def _is_greeted(self, connection: socket.socket) -> bool:
        connection.settimeout(_GREETING_S)
        try:
            message = receive(connection, _FIRST_BYTES)
        except (SqlinferError, UnicodeDecodeError):
            return False
        token = message[1] if message and len(message) == 2 and message[0] == "token" else None
        if token is None or not hmac.compare_digest(token.encode(), self._token.encode()):
            send(connection, ["error", "the server refuses this token; say the right one in SQLINFER_TOKEN"])
            return False
        connection.settimeout(None)
        send(connection, ["ok"])
        return True

    def _answer(self, connection: socket.socket, is_local: bool) -> None:
        caller = Caller(self._calls, _Hangup(connection), is_local)
        while (message := receive(connection)) is not None:
            try:
                answer = ["ok", *caller.answer(message)]
            except SqlinferError as error:
                if isinstance(error, Interrupted):
                    _log.info("a call was stopped")
                answer = ["error", redact(str(error))]
            except Exception as error:  # noqa: BLE001 - the client gets it
                _log.exception("a call failed")
                answer = ["error", redact(f"{type(error).__name__}: {error}")]
            send(connection, answer)


class _Hangup(threading.Event):
    """Is set once the other side of a connection has hung up."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection

    def is_set(self) -> bool:
        try:
            return self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


def _own(path: Path) -> int:
    """Lock a file for the life of this process; it names the process."""
    lock = open_file(path, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held = os.pread(lock, 32, 0).decode() or "?"
        os.close(lock)
        raise SqlinferError(f"a server of {path.parent} runs already, PID {held}. End it first: kill {held}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock
