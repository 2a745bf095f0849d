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


_SHAPES: Mapping[str, Shape] = {"sqlinfer/random": "llama", "sqlinfer/random-summarizer": "t5"}
_SIZES: Mapping[Shape, Size] = {"llama": Size(positions=4096), "t5": Size()}


def _path(shape: Shape, folder: Path) -> Path:
    return folder / f"random-{shape}-{_EDITION}"


def _built(shape: Shape, folder: Path) -> Path:
    """The folder of a built-in model inside folder; whoever comes first builds it, whole or not at all."""
    path = _path(shape, folder)
    if path.is_dir():
        return path
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=folder))
    try:
        build(shape, unfinished, size=_SIZES[shape])
        os.rename(unfinished, path)  # noqa: PTH104 - fails if another process was quicker
    except OSError:
        if not path.is_dir():
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return path


BUILTINS: Mapping[str, Callable[[Path], Path]] = {name: partial(_built, shape) for name, shape in _SHAPES.items()}
DESCRIPTION = "random weights, for a first try; its words mean nothing"
DEFAULTS: Mapping[str, str] = {"": "sqlinfer/random", "summarize": "sqlinfer/random-summarizer"}
"""The model for each task when none is named, "" for any."""


def find_built(folder: Path) -> list[str]:
    """The names of the built-in models that were built in a folder already."""
    return [name for name, shape in _SHAPES.items() if _path(shape, folder).is_dir()]
