"""What a client says of all its calls. It goes with each of them, so that a server that was started anew knows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sqlinfer.errors import SqlinferError, nearest


@dataclass(frozen=True, slots=True)
class Context:
    """What holds for all calls of a client.

    model: answers calls that name none.
    udfs: folders of the user's functions; None leaves them to the server.
    state: of the files in these folders, so that edited ones are loaded anew.
    """

    model: str | None = None
    udfs: tuple[str, ...] | None = None
    state: str = ""

    def __str__(self) -> str:
        return json.dumps(
            {name: value for name, value in asdict(self).items() if value not in (None, "")}, ensure_ascii=False
        )


def read_context(text: str) -> Context:
    """A context from its JSON; an unknown key is refused."""
    try:
        values = json.loads(text or "{}")
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise SqlinferError(f"the context of a call must be a JSON object, not {text!r}")
    keys = {field.name for field in fields(Context)}
    for name in values:
        if name not in keys:
            raise SqlinferError(f"the context of a call has no {name}. {nearest(name, keys)}")
    model, udfs, state = values.get("model"), values.get("udfs"), values.get("state", "")
    is_list = udfs is None or (isinstance(udfs, list) and all(isinstance(folder, str) for folder in udfs))
    if not (isinstance(model, str | None) and is_list and isinstance(state, str)):
        raise SqlinferError(f"the context of a call has texts, and below udfs a list of them, not {text!r}")
    return Context(model, None if udfs is None else tuple(udfs), state)


def local_context(model: str | None, folders: Iterable[Path]) -> Context:
    """The context of a client on the server's machine. folders: of the user's functions; those that are there count."""
    there = [folder.resolve() for folder in folders if folder.is_dir()]
    files = [(file, file.stat()) for folder in there for file in sorted(folder.rglob("*.py"))]
    state = "".join(f"{file} {status.st_mtime_ns} {status.st_size} {status.st_ino}\n" for file, status in files)
    return Context(model, tuple(map(str, there)), hashlib.sha256(state.encode()).hexdigest()[:16])
