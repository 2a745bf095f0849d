"""How far a job is, as one line of text: on a terminal, in a notebook, or line by line into a log.

Knows counts alone.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from sqlinfer.units import count

_REDRAW_S = 0.1
_NOTEBOOK_S = 0.5
_LINE_S = 10.0


def progress_line(now: Any, inference_s: float, before: tuple[int, int, int] = (0, 0, 0)) -> str:
    """Rows, requests, failures, tokens a second in and out, batch fill, time left; or what goes on in their place.

    now: JobCounters of this process, or the record of another's job.
    inference_s: seconds since requests are computed.
    before: requests that had ended then, tokens read, tokens written.
    """
    elapsed = f"{_clock(inference_s)} elapsed"
    if activity := getattr(now, "activity", ""):
        return ", ".join([*([count(now.rows, "row")] if now.rows else []), activity, elapsed])
    ended = now.generated + now.failed
    expected = max(now.expected, ended)
    seconds = max(inference_s, 1e-9)
    read, written = ((now.prompt_tokens - before[1]) / seconds, (now.completion_tokens - before[2]) / seconds)
    parts = [count(now.rows, "row")] if now.rows else []
    if tokenized := getattr(now, "tokenized", 0):
        parts.append(f"{count(tokenized, 'text')} tokenized")
    parts.append(f"asking {ended:,}/{count(expected, 'request')}")
    if now.failed:
        parts.append(f"{now.failed:,} failed")
    parts.append(f"{read:,.0f} + {written:,.0f} tokens/s")
    if now.cost:
        parts.append(f"${now.cost:,.2f}")
    if now.batch_fill:
        parts.append(f"batch {now.batch_fill:.0%} full")
    done = ended - before[0]
    if done > 0:
        parts.append(f"{_clock((expected - ended) * seconds / done)} left")
    elif expected > ended:
        parts.append(elapsed)
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


class Progress:
    """Shows a line of progress, no more often than every_s; called with the counts of a job."""

    def __init__(self, show: Callable[[str], None], every_s: float, is_late: bool = False) -> None:
        self._show = show
        self._every_s = every_s
        self._is_late = is_late
        self.reset()

    def reset(self) -> None:
        """Begin anew: other requests are computed."""
        self._started_s: float | None = None
        self._shown_s = -math.inf
        self._is_shown = False
        self._before = (0, 0, 0)

    def __call__(self, counts: Any) -> None:
        """Note one more completion."""
        now_s = time.monotonic()
        if self._started_s is None:
            self._started_s = now_s
            self._shown_s = now_s if self._is_late else -math.inf
            self._before = counts.generated + counts.failed, counts.prompt_tokens, counts.completion_tokens
        if now_s - self._shown_s >= self._every_s:
            self._shown_s = now_s
            self._is_shown = True
            self._show(progress_line(counts, now_s - self._started_s, self._before))

    def finish(self, counts: Any) -> None:
        """Show how it ended, if a line was shown before."""
        if self._is_shown and self._started_s is not None:
            self._show(progress_line(counts, time.monotonic() - self._started_s, self._before))


def on_terminal(stream: TextIO) -> Progress:
    """One line that is written over and over; wipe takes it away."""

    def show(line: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        stream.write(f"\r\x1b[2K{line[:width]}")
        stream.flush()

    return Progress(show, _REDRAW_S)


def wipe(stream: TextIO) -> None:
    """Take the line of a terminal away."""
    stream.write("\r\x1b[2K")
    stream.flush()


def as_lines(stream: TextIO) -> Progress:
    """A line every ten seconds, the first after ten."""
    return Progress(lambda line: print(line, file=stream, flush=True), _LINE_S, is_late=True)


def in_notebook() -> Progress | None:
    """One line below the cell that runs; None if this is no notebook."""
    display = sys.modules.get("IPython.display")
    shell = sys.modules["IPython"].get_ipython() if display is not None and "IPython" in sys.modules else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return _BelowCell(display)


class _BelowCell(Progress):
    """One line of a notebook's output for each job. display: the module IPython.display."""

    def __init__(self, display: Any) -> None:
        super().__init__(self._write, _NOTEBOOK_S)
        self._display = display

    def reset(self) -> None:
        super().reset()
        self._handle: Any = None

    def _write(self, line: str) -> None:
        bundle = {"text/plain": line}
        if self._handle is None:
            self._handle = self._display.display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
