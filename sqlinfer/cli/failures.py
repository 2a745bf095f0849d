"""The one place where an error becomes a message and an exit code: 1 error, 2 usage, 130 interrupted."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from sqlinfer.errors import Interrupted, SqlinferError
from sqlinfer.redact import redact

INTERRUPTED = 130


class Commands(click.Group):
    """A group whose commands report an error that a user can mend as a message, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; its errors end it."""
        try:
            with _log_on_stderr():
                return super().invoke(ctx)
        except (Interrupted, KeyboardInterrupt) as error:
            echo_interrupted(str(error) or "Interrupted.")
            raise click.exceptions.Exit(INTERRUPTED) from None
        except SqlinferError as error:
            raise click.ClickException(message(error)) from None
        except Exception as error:
            if isinstance(error, duckdb_errors()) or _is_of_a_stream(error):
                raise click.ClickException(message(error)) from None
            raise


def echo_interrupted(message: str) -> None:
    """Print the end of a stopped run on a line of its own: a terminal shows ^C, and may show a line of progress."""
    click.echo(_own_line() + message, err=True)


def _own_line() -> str:
    """What erases a line of progress that is on the terminal."""
    return "\r\x1b[2K" if sys.stderr.isatty() else ""


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """While open, what the package logs goes to stderr: warnings, or what a job's logging_level says."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{_own_line()}%(message)s"))
    log = logging.getLogger("sqlinfer")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def message(error: Exception) -> str:
    """The error's text without secrets, behind the place in a file if one was noted."""
    return redact(": ".join([*getattr(error, "__notes__", []), str(error)]))


def _is_of_a_stream(error: Exception) -> bool:
    """Whether it is DuckDB's error as Arrow passes it on, from the middle of a stream: an OSError without a number."""
    return (
        isinstance(error, OSError) and error.errno is None and re.match(r"[A-Z][\w ]* Error: ", str(error)) is not None
    )


def duckdb_errors() -> tuple[type[Exception], ...]:
    """The root of DuckDB's errors; empty as long as nothing has loaded DuckDB."""
    duckdb = sys.modules.get("duckdb")
    return (duckdb.Error,) if duckdb is not None else ()
