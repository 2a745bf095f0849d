"""Folders and files of the state, which their owner alone can read. Knows nothing of what is in them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder of the state if it is not there; git leaves it out."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(folder / ".gitignore", "*\n")


def write_file(path: Path, text: str) -> None:
    """Write a file, whole or not at all; its folder is made if it is not there."""
    make_folder(path.parent)
    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # for its owner alone
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def open_file(path: Path, flags: int) -> int:
    """A descriptor of a file, which is made if it is not there; programs that are started do not inherit it."""
    make_folder(path.parent)
    return os.open(path, flags | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
