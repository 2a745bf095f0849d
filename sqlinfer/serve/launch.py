"""Starts a server in the background if none of this version runs; knows nothing of what it answers."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from sqlinfer import __version__
from sqlinfer.config.process_settings import num_cores
from sqlinfer.errors import SqlinferError
from sqlinfer.serve.address import log_path, socket_path
from sqlinfer.serve.client import exchange
from sqlinfer.store import state_folder
from sqlinfer.store.private_files import open_file

IDLE_S = 300
"""How long a server that was started here waits without a connection before it ends."""
HELLO_S = 30.0
"""How long a server may take to say hello: one that loads a model answers late."""
_START_S = 120.0
_POLL_S = 0.05
_log = logging.getLogger("sqlinfer")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers."""

    version: str
    """Of its sqlinfer."""
    pid: int
    """Of its process."""
    ends_itself: bool
    """Whether it does when nobody is connected: nobody started it by hand."""


def running_server() -> RunningServer | None:
    """The server of this state folder, if one runs. Raises SqlinferError if what listens there does not answer."""
    try:
        answer = exchange(str(socket_path()), ["hello"], timeout_s=HELLO_S)
    except TimeoutError:
        raise SqlinferError(f"the server of {state_folder()} does not answer. End it: kill {_pid_of_lock()}") from None
    except OSError:
        return None
    match answer:
        case [str(version), str(pid), *more] if pid.isdecimal():
            return RunningServer(version, int(pid), more != ["false"])
    raise SqlinferError(f"what listens at {socket_path()} is no sqlinfer server")


def ensure_server() -> None:
    """Return when a server of this version and state folder answers; one is started if none does, also in place of one
    of another version."""
    server = running_server()
    if server is not None and server.version == __version__:
        return
    if server is not None:
        _end(server)
    process = start()
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s:
        status = process.poll()  # looked at first: a server that ends in between answered before
        if running_server() is not None:
            return
        if status not in (None, 0):
            break
        time.sleep(_POLL_S)
    last_line = log_path().read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise SqlinferError(f"the server did not start: {''.join(last_line) or 'its log is empty'} (its log: {log_path()})")


def _end(server: RunningServer) -> None:
    """End a server of another version. Raises SqlinferError for one that was started by hand, with its options."""
    if not server.ends_itself:
        raise SqlinferError(
            f"the server that runs is sqlinfer {server.version}, and this is {__version__}. End it, and start it anew: "
            f"kill {server.pid}; sqlinfer serve"
        )
    _log.warning("the server that runs is sqlinfer %s, and this is %s: it is started anew", server.version, __version__)
    try:
        os.kill(server.pid, signal.SIGTERM)
    except OSError as error:
        raise SqlinferError(
            f"the server of sqlinfer {server.version}, PID {server.pid}, cannot be ended: {error}"
        ) from None
    until_s = time.monotonic() + _START_S
    while running_server() is not None:
        if time.monotonic() > until_s:
            raise SqlinferError(f"the server of sqlinfer {server.version} does not end: kill -9 {server.pid}")
        time.sleep(_POLL_S)


def _pid_of_lock() -> str:
    try:
        return socket_path().with_suffix(".lock").read_text().strip() or "PID"
    except OSError:
        return "PID"


def start() -> subprocess.Popen[bytes]:
    """Start a server that outlives this process, and the terminal's Ctrl-C, until nobody needs it."""
    folder = state_folder()
    log = open_file(log_path(), os.O_WRONLY | os.O_APPEND)
    command = [sys.executable, "-m", "sqlinfer", "serve", "--idle", str(IDLE_S)]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={"OMP_NUM_THREADS": _free_cores(), **os.environ, "SQLINFER_HOME": str(folder)},
        )
    finally:
        os.close(log)


def _free_cores() -> str:
    """The cores besides the one on which the DuckDB that a server is started for busy-waits."""
    return str(max(1, num_cores() - 1))
