"""What a run says while it goes on: how far it is, a word about a model that nobody chose. All on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlinfer.sql import Session
    from sqlinfer.sql.counts import Counts


class Watch:
    """Follows the questions of a session. text: the SQL of the run, to tell which models it names."""

    def __init__(self, session: Session, text: str, quiet: bool = False) -> None:
        from sqlinfer.sql.progress import as_lines, on_terminal

        self._session = session
        self._text = text
        self._quiet = quiet
        self._told: set[str] = set()
        self._on_terminal = sys.stderr.isatty()
        self._progress = on_terminal(sys.stderr) if self._on_terminal else as_lines(sys.stderr)
        self._is_on = self._is_drawn = False

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Show progress of the questions asked inside; on a terminal nothing of it stays."""
        self._is_on = True
        try:
            yield
        finally:
            self._is_on = False
            self.stop()
            self._tell()

    def __call__(self, counts: Counts) -> None:
        """Note one more completion."""
        self._tell()
        if self._is_on and not self._quiet:
            self._progress(counts)
            self._is_drawn = True

    def stop(self) -> None:
        """Take the line away."""
        from sqlinfer.sql.progress import wipe

        if self._is_drawn and self._on_terminal:
            wipe(sys.stderr)
        self._is_drawn = False
        self._progress.reset()

    def _tell(self) -> None:
        """Say once that a built-in model answers where none was named."""
        for version in [] if self._quiet else self._session.answerer.versions():
            name = version.name
            if version.source != "built-in" or name in self._told:
                continue
            self._told.add(name)
            if self._session.runtime.model != name and name not in self._text:
                click.echo(
                    f"No model is named: {name} answers. Its weights are random and its words mean nothing. Choose "
                    f"another: sqlinfer models register NAME SOURCE, then --model NAME",
                    err=True,
                )
