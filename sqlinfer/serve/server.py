"""Listens on sockets and answers each connection in a thread of its own. Knows no SQL.

The Unix socket is for its owner alone; on TCP the first message must be the token.
"""

from __future__ import annotations

import errno
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
from sqlinfer.serve.service import Dispatcher, Service
from sqlinfer.serve.wire import Message, receive, send
from sqlinfer.store.private_files import open_file

AUTHENTICATION_S = 10.0
"""How long a connection on TCP may take until its token is there."""
MOST_UNAUTHENTICATED = 32
"""Connections on TCP without a token so far; a further one takes the place of the oldest."""
_FIRST_BYTES = 4096
"""What is read of a connection without a token."""
_POLL_S = 0.5
_PAUSE_S = 0.1
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_log = logging.getLogger("sqlinfer")


class Server:
    """Answers calls until it is stopped, or for idle_s seconds nobody has been connected. token: of TCP."""

    def __init__(self, service: Service, token: str = "", idle_s: float | None = None) -> None:
        self._service = service
        self._token = token
        self._idle_s = idle_s
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._unauthenticated: dict[socket.socket, None] = {}  # the oldest first
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
        try:
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise SqlinferError(f"the server cannot listen at {host}, port {port}: {error.strerror}") from None
        self._add(listener, is_local=False)
        return f"{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"

    def run(self) -> None:
        """Answer until it is time to stop."""
        while not self.stop.is_set() and not self._is_idle():
            for key, _ in self._selector.select(_POLL_S):
                assert isinstance(key.fileobj, socket.socket)
                self._accept(key.fileobj, key.data)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            if key.fileobj.family == socket.AF_UNIX:
                Path(key.fileobj.getsockname()).unlink(missing_ok=True)
            key.fileobj.close()
        if self._owned is not None:
            os.close(self._owned)  # another server may start while this one comes to its end
        self._service.close()

    def _add(self, listener: socket.socket, is_local: bool) -> None:
        listener.listen(128)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, is_local)

    def _is_idle(self) -> bool:
        with self._lock:
            is_left = self._num_connected == 0
            return self._idle_s is not None and is_left and time.monotonic() - self._left_s > self._idle_s

    def _accept(self, listener: socket.socket, is_local: bool) -> None:
        try:
            connection, _ = listener.accept()
        except OSError as error:  # else the peer is gone already
            if error.errno in _EXHAUSTED:
                self.stop.wait(_PAUSE_S)  # the connection that waits would wake the selector at once
            return
        connection.setblocking(True)
        with self._lock:
            self._num_connected += 1
            if not is_local:
                self._unauthenticated[connection] = None
                if len(self._unauthenticated) > MOST_UNAUTHENTICATED:
                    oldest = next(iter(self._unauthenticated))
                    del self._unauthenticated[oldest]
                    with suppress(OSError):  # it is closed already
                        oldest.shutdown(socket.SHUT_RDWR)
        try:
            threading.Thread(target=self._serve, args=(connection, is_local), daemon=True).start()
        except RuntimeError:  # the system has no more threads
            self._forget(connection)
            connection.close()
            self.stop.wait(_PAUSE_S)

    def _serve(self, connection: socket.socket, is_local: bool) -> None:
        try:
            with connection, suppress(OSError):
                if is_local or self._authenticate(connection):
                    self._answer(connection, is_local)
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._unauthenticated.pop(connection, None)
            self._num_connected -= 1
            self._left_s = time.monotonic()

    def _authenticate(self, connection: socket.socket) -> bool:
        try:
            message = receive(connection, _FIRST_BYTES, time.monotonic() + AUTHENTICATION_S)
        except SqlinferError:
            return False
        connection.settimeout(AUTHENTICATION_S)
        token = message[1] if message and len(message) == 2 and message[0] == "token" else None
        if token is None or not hmac.compare_digest(token.encode(), self._token.encode()):
            send(connection, ["error", "the server refuses this token; say the right one in SQLINFER_TOKEN"])
            return False
        with self._lock:
            if connection not in self._unauthenticated:  # shut down meanwhile
                return False
            del self._unauthenticated[connection]
        send(connection, ["ok"])
        connection.settimeout(None)
        return True

    def _answer(self, connection: socket.socket, is_local: bool) -> None:
        dispatcher = Dispatcher(self._service, _Disconnected(connection), is_local)
        try:
            while (message := receive(connection)) is not None:
                send(connection, _answer_of(dispatcher, message))
        except SqlinferError as error:  # no message: where the next one begins is not known
            send(connection, ["error", str(error)])


def _answer_of(dispatcher: Dispatcher, message: Message) -> Message:
    try:
        return ["ok", *dispatcher.dispatch(message)]
    except SqlinferError as error:
        if isinstance(error, Interrupted):
            _log.info("a call was stopped")
        return ["error", redact(str(error))]
    except Exception as error:  # noqa: BLE001 - the client gets it
        _log.exception("a call failed")
        return ["error", redact(f"{type(error).__name__}: {error}")]


class _Disconnected(threading.Event):
    """Is set once the peer of a connection has closed it."""

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
        pid = os.pread(lock, 32, 0).decode() or "?"
        os.close(lock)
        raise SqlinferError(f"a server of {path.parent} runs already, PID {pid}. End it first: kill {pid}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock
