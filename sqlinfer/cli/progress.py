"""Prints the progress of a run on stderr."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from sqlinfer.config.process_settings import logging_level

if TYPE_CHECKING:
    from sqlinfer.inference.counters import JobCounters


def _hush(context: click.Context, _: click.Parameter, is_quiet: bool) -> bool:
    if is_quiet:
        context.with_resource(logging_level("error"))
    return is_quiet


quiet_option = click.option("--quiet", is_flag=True, callback=_hush, help="Print only errors to stderr.")
"""Of commands that say how far they are: neither that, nor what the package logs but errors."""


class Watch:
    """Follows the requests of a session. quiet: show nothing."""

    def __init__(self, quiet: bool = False) -> None:
        from sqlinfer.inference.progress import as_lines, on_terminal

        self._quiet = quiet
        self._on_terminal = sys.stderr.isatty()
        self._progress = on_terminal(sys.stderr) if self._on_terminal else as_lines(sys.stderr)
        self._is_on = self._is_drawn = False
        self._lock = threading.Lock()

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show the progress of the requests that run inside; a terminal's line is erased at the end."""
        self._is_on = True
        try:
            yield
        finally:
            self._is_on = False
            self.stop()

    def __call__(self, counts: JobCounters) -> None:
        """Show where the job is; threads call it."""
        with self._lock:
            if self._is_on and not self._quiet:
                self._progress(counts)
                self._is_drawn = True

    def stop(self) -> None:
        """Erase the line."""
        from sqlinfer.inference.progress import wipe

        with self._lock:
            if self._is_drawn and self._on_terminal:
                wipe(sys.stderr)
            self._is_drawn = False
            self._progress.reset()
