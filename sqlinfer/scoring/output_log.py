"""What scoring scripts print, as a file: the log of a job."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from sqlinfer.scoring.process import SCORING_OUTPUT

_MOST_BYTES = 10 << 20


@contextmanager
def logging_output(file: Path) -> Iterator[None]:
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
        Path(self.baseFilename).parent.mkdir(mode=0o700, exist_ok=True)
        return super()._open()
