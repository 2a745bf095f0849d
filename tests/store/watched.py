"""Sessions and commands in one process that watches itself, as `python -m tests.store.watched FOLDER`.

Prints as JSON what was opened beside SQLite while SQLite had the store open, and after which steps another process
could have taken the store for unused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import sqlinfer
from sqlinfer.cli import main
from sqlinfer.store import Store
from tests.conftest import EchoEngine

PARTS = ("state.db", "state.db-wal", "state.db-shm")
_TOUCH = {"open", "os.truncate", "os.rename", "os.remove", "os.link", "shutil.copyfile"}
# What SQLite asks for before it removes the log: the whole of its range for readers.
_IS_UNUSED = """
import fcntl, os, sys
try:
    fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
except OSError:
    sys.exit(1)
"""


def is_unused(path: Path) -> bool:
    """Whether another process could take itself for the only one that has the store open."""
    return subprocess.run([sys.executable, "-S", "-c", _IS_UNUSED, str(path)], check=False).returncode == 0


def watch(folder: Path) -> list[str]:
    """Note from now on what is touched beside SQLite once it has opened the store."""
    touched: list[str] = []
    is_open = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal is_open
        if event == "sqlite3.connect" and "state.db" in str(arguments[0]):
            is_open = True
        elif is_open and event in _TOUCH and _is_part(folder, arguments[0]):
            touched.append(f"{event} {arguments[0]}")

    sys.addaudithook(hook)
    return touched


def _is_part(folder: Path, name: Any) -> bool:
    if isinstance(name, int):  # a descriptor that is open already
        return False
    path = Path(os.fsdecode(name))
    if not path.exists():
        return path.name in PARTS
    return any(path.samefile(folder / part) for part in PARTS if (folder / part).exists())


def run(folder: Path) -> dict[str, Any]:
    touched, engine, unused = watch(folder), EchoEngine(), []

    def session() -> sqlinfer.Session:
        opened = sqlinfer.connect(model="echo")
        opened.runtime.open_engine = lambda version: engine
        return opened

    def note(step: str) -> None:
        if is_unused(folder / "state.db"):
            unused.append(step)

    first = session()
    first.execute("SELECT ai_gen('first ' || i) FROM range(5) r(i)").fetchall()
    note("asked")
    second = session()
    note("connected twice")
    second.execute("SELECT ai_gen('second ' || i) FROM range(5) r(i)").fetchall()
    note("asked the second")
    for command in (["answers", "stats"], ["answers", "path"], ["answers", "clear", "--function", "none", "--yes"],
                    ["jobs", "list"], ["models", "list"]):  # fmt: skip
        main(command, standalone_mode=False)
        note(" ".join(command))
    threads = [threading.Thread(target=lambda: Store(folder).close()) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    note("opened and closed in threads")
    (folder / "state.db").chmod(0o644)
    Store(folder).close()
    note("closed to others")
    second.close()
    note("closed the second")
    first.execute("SELECT ai_gen('third ' || i) FROM range(5) r(i)").fetchall()
    note("asked again")
    first.close()
    note("closed all")
    return {"touched": touched, "unused": unused}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))
