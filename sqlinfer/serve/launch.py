"""Starts a server in the background if none runs; knows nothing of what it answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from sqlinfer.errors import SqlinferError
from sqlinfer.serve.address import ask, log_path, socket_path
from sqlinfer.store import state_folder
from sqlinfer.store.private_files import open_file

IDLE_S = 300
"""How long a server that was started here waits without a connection before it ends."""
_START_S = 120.0
_POLL_S = 0.05


def is_running() -> bool:
    """Whether a server of this state folder answers."""
    try:
        ask(str(socket_path()), ["hello"])
    except OSError:
        return False
    return True


def ensure_server(options: Sequence[str] = ()) -> None:
    """Return when a server of this state folder answers; one is started with these options if none does."""
    if is_running():
        return
    process = start(options)
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s:
        if is_running():
            return
        if process.poll() not in (None, 0, 1):  # 1: another one was first, or it says why not
            break
        if process.poll() == 1 and not is_running():
            break
        time.sleep(_POLL_S)
    last_line = log_path().read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise SqlinferError(
        f"the server did not start: {''.join(last_line) or 'it last_line nothing'} (its log: {log_path()})"
    )


def start(options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start a server that outlives this process, and the terminal's Ctrl-C, until nobody needs it."""
    folder = state_folder()
    log = open_file(log_path(), os.O_WRONLY | os.O_APPEND)
    command = [sys.executable, "-m", "sqlinfer", "serve", "--idle", str(IDLE_S), *options]
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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return str(max(1, cores - 1))
