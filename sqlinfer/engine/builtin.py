"""The models that sqlinfer brings: small, with random weights, built on first use into the folder of the state.

They show the machinery; their words mean nothing. Importing this loads no torch.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from sqlinfer.engine.shapes import Shape, Size, build

_EDITION = 1
"""Counts the recipes: another shape or size is another folder, and its answers are other answers."""


def _built(shape: Shape, size: Size, folder: Path) -> Path:
    """The folder of a built-in model inside folder; whoever comes first builds it, whole or not at all."""
    path = folder / f"random-{shape}-{_EDITION}"
    if path.is_dir():
        return path
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=folder))
    try:
        build(shape, unfinished, size=size)
        os.rename(unfinished, path)  # noqa: PTH104 - fails if another process was quicker
    except OSError:
        if not path.is_dir():
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return path


BUILTINS: Mapping[str, Callable[[Path], Path]] = {
    "sqlinfer/random": partial(_built, "llama", Size(positions=4096)),
    "sqlinfer/random-summarizer": partial(_built, "t5", Size()),
}
DEFAULTS: Mapping[str, str] = {"": "sqlinfer/random", "summarize": "sqlinfer/random-summarizer"}
"""The model for each task when none is named, "" for any."""
