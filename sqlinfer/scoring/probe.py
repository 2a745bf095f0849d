"""What a model that worker processes score knows of its types: loaded once, in a process of its own."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlinfer.errors import ModelUnusable, SqlinferError
from sqlinfer.scoring.process import ScoringError, WorkerProcess
from sqlinfer.scoring.signature import describe
from sqlinfer.scoring.values import fields_of, read_type
from sqlinfer.sql_text import quote_identifier
from sqlinfer.types import Loader, Scorer

_ABSENT = re.compile(r"No module named '([\w.]+)'")
_SIZE = re.compile(r"\[(\d+)\]$")


def probe_scorer(
    path: Path, loader: Loader, returns: str | None = None, input_type: str = "", file: str = ""
) -> Scorer:
    """How worker processes score a model; returns and input_type stand above what it says itself. file: of the model in
    its folder.

    Raises ModelUnusable if it cannot be loaded, or if nothing says the type of its result.
    """
    result = read_type(returns)[1] if returns else None
    worker = WorkerProcess(path, Scorer(file, "", loader=loader), path.name, result)
    try:
        signature = worker.signature(threading.Event())
    except ScoringError as error:
        absent = _ABSENT.search(str(error))
        install = f". Install it: pip install {absent[1].partition('.')[0]}" if absent else ""
        raise ModelUnusable(f"{path / file} cannot be loaded: {error}{install}") from None
    finally:
        worker.close()
    if input_type:
        _check_columns(path / file, signature, input_type)
    returns = returns or signature.get("returns")
    if not returns:
        raise ModelUnusable(f"{path} has no signature that says its result. Say it: --returns 'STRUCT(class INTEGER)'")
    columns = ", ".join(f"{quote_identifier(name)} {kind}" for name, kind in signature.get("input", {}).items())
    input_type = input_type or (f"STRUCT({columns})" if columns else signature.get("list", ""))
    optional: Sequence[Any] = signature.get("optional") or ()
    types = read_type(returns)[0], read_type(input_type)[0] if input_type else ""
    return Scorer(file, *types, loader, tuple(optional), tuple(signature.get("not_null", ())))


def _check_columns(file: Path, signature: Mapping[str, Any], input_type: str) -> None:
    """Refuse a registered type without the columns of the model, or without as many as it takes."""
    given, columns = fields_of(input_type), signature.get("input", {})
    size = _SIZE.search(signature.get("list", ""))
    if given and size and len(given) != int(size[1]):
        raise SqlinferError(f"input = '{input_type}' does not fit {file}: it takes {size[1]} columns, not {len(given)}")
    optional = signature.get("optional") or ()
    missing = [name for name in columns if name not in given and name not in optional]
    extra = [name for name in given if name not in columns] if columns else []
    if problem := describe(missing, extra, [], columns):
        raise SqlinferError(f"input = '{input_type}' does not fit {file}: it {problem}")
