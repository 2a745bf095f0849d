"""The files that a new project begins with."""

from __future__ import annotations

from pathlib import Path

from sqlinfer.errors import SqlinferError

_STARTER = Path(__file__).with_name("starter")
_RENAMED = {"gitignore": ".gitignore"}
_EMPTY = ("macros", "udfs")


def write_starter(folder: Path) -> list[Path]:
    """Write a small project that builds as it is into a folder; the files, from the folder. SqlinferError if one of
    them is there."""
    files = sorted(path for path in _STARTER.rglob("*") if path.is_file())
    targets = {path: _target(path) for path in files}
    there = [str(folder / target) for target in targets.values() if (folder / target).exists()]
    if there:
        raise SqlinferError(f"{there[0]} exists, so nothing was written. Choose another folder: sqlinfer init NEW")
    for path, target in targets.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8").replace("NAME", folder.resolve().name)
        (folder / target).write_text(text, encoding="utf-8")
    for name in _EMPTY:
        (folder / name).mkdir(exist_ok=True)
    return list(targets.values())


def _target(path: Path) -> Path:
    relative = path.relative_to(_STARTER)
    return relative.with_name(_RENAMED.get(relative.name, relative.name))
