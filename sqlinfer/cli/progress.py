"""What a run says while it goes on: a bar on a terminal, a word about a model that nobody chose. All on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sqlinfer.sql import Session
    from sqlinfer.sql.counts import Counts

_REDRAW_S = 0.1


class Watch:
    """Follows the questions of a session. text: the SQL of the run, to tell which models it names."""

    def __init__(self, session: Session, text: str) -> None:
        self._session = session
        self._text = text
        self._told: set[str] = set()
        self._bar: Any = None
        self._drawn_s = 0.0
        self._is_on = False

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Show a bar for questions asked inside; there is none before the first answer and none afterwards."""
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
        now = time.monotonic()
        if not self._is_on or not sys.stderr.isatty() or now - self._drawn_s < _REDRAW_S:
            return
        self._drawn_s = now
        if self._bar is None:
            self._start(counts)
        done = counts.generated + counts.failed
        speed = (counts.completion_tokens - self._tokens) / max(now - self._started_s, 1e-9)
        self._bar.update(self._task, completed=done, total=max(counts.expected, done), speed=f"{speed:,.0f}")

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start(self, counts: Counts) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._started_s, self._tokens = time.monotonic(), counts.completion_tokens
        columns = (
            TextColumn("asking"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]} tokens/s, left"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=counts.expected, speed="0")
        self._bar.start()

    def _tell(self) -> None:
        """Say once that a built-in model answers where none was named."""
        for version in self._session.answerer.versions():
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
