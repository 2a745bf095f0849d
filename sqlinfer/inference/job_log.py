"""The log of a job: what its scoring scripts print. Knows no job and no script."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from sqlinfer.scoring import SCORING_OUTPUT
from sqlinfer.store import make_folder

_MOST_BYTES = 10 << 20


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Inside, what scripts print is appended to a file, made at the first line; of more than 10 MB the last."""
    handler = _LogFile(file, maxBytes=_MOST_BYTES, backupCount=1, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    SCORING_OUTPUT.addHandler(handler)
    try:
        yield
    finally:
        SCORING_OUTPUT.removeHandler(handler)
        handler.close()


class _LogFile(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        make_folder(Path(self.baseFilename).parent)
        return super()._open()
