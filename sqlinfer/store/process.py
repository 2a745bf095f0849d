"""Whether a process that wrote into the store still lives; knows pids, no tables."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

SILENT_S = 600.0
"""How long a process of which the pid says nothing counts as alive after its last write."""


def process_identity(pid: int | None = None) -> str:
    """Boot, pid namespace and start time of a process (default: this one); parts that cannot be told are empty."""
    return ":".join((_read("/proc/sys/kernel/random/boot_id"), _namespace(), _start(pid or os.getpid())))


def is_alive(pid: int, identity: str, touched: float) -> bool:
    """Whether the process with this pid and identity still runs; touched: when it last wrote, unix seconds.

    In another container or on another system the pid says nothing: then it counts as alive for ten minutes
    after its last write.
    """
    boot, namespace, start = [*identity.split(":"), "", "", ""][:3]
    if boot and boot != _read("/proc/sys/kernel/random/boot_id"):
        return False
    if sys.platform == "win32" or namespace != _namespace():
        return abs(time.time() - touched) < SILENT_S  # the clock may have been set back since
    if start:
        return start == _start(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink()).replace(":", "")
    except OSError:
        return ""


def _start(pid: int) -> str:
    # Field 22, counted after the command's closing bracket, which may itself hold blanks. A zombie is dead.
    after = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return after[19] if len(after) > 19 and after[0] not in "ZX" else ""
