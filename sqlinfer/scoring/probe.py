"""What a model that worker processes score knows of its types: loaded once, in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlinfer.errors import ModelUnusable
from sqlinfer.scoring.process import ScoringError, WorkerProcess
from sqlinfer.scoring.values import read_type
from sqlinfer.sql_text import quote_identifier
from sqlinfer.types import Loader, Scorer


def probe_scorer(path: Path, loader: Loader, returns: str | None = None, input_type: str = "") -> Scorer:
    """How worker processes score a model; returns and input_type stand above what it says itself.

    Raises ModelUnusable if it cannot be loaded, or if nothing says the type of its result.
    """
    worker = WorkerProcess(path, "", loader, path.name)
    try:
        signature = worker.signature(threading.Event())
    except ScoringError as error:
        raise ModelUnusable(f"{path} cannot be loaded: {error}") from None
    finally:
        worker.close()
    returns = returns or signature.get("returns")
    if not returns:
        raise ModelUnusable(f"{path} has no signature that says its result. Say it: --returns 'STRUCT(class INTEGER)'")
    columns = ", ".join(f"{quote_identifier(name)} {kind}" for name, kind in signature.get("input", {}).items())
    input_type = input_type or (f"STRUCT({columns})" if columns else signature.get("list", ""))
    optional: Sequence[Any] = signature.get("optional") or ()
    return Scorer("", read_type(returns)[0], read_type(input_type)[0] if input_type else "", loader, tuple(optional))
