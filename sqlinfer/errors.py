"""The errors that sqlinfer raises, and how a message names what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXCERPT = 200
"""Characters of a row, a type or an answer that an error shows."""


class SqlinferError(Exception):
    """Something the user can mend; the message says how."""


class ModelNotFound(SqlinferError):
    """No model of this name, version or alias is registered, and no folder or hub cache holds it."""


class ModelUnusable(SqlinferError):
    """The model's files are there and cannot be used: corrupt, incomplete, or of a kind not allowed."""


class StoreUnusable(SqlinferError):
    """The state file cannot be used: written by a newer sqlinfer, corrupt, or locked."""


class RequestsFailed(SqlinferError):
    """Rows of a statement got no answer; the answers of all other rows are kept."""


class StoppedEarly(SqlinferError):
    """A job ended at its budget or at its error threshold; what was answered is kept."""


class Interrupted(SqlinferError):
    """The user stopped the job; what was answered is kept."""

    def __init__(
        self, message: str = "stopped; every finished answer is kept. Run the same statement again to go on"
    ) -> None:
        super().__init__(message)


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the known names closest to name, or lists a few; empty if none is known.

    >>> nearest("sumarize", ["ai_query", "summarize"])
    'Did you mean summarize?'
    >>> nearest("xyz", ["b", "a"])
    'Known: a, b.'
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    if not names:
        return ""
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"Known: {shown}."


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type."""
    lines = str(error).strip().splitlines()
    return lines[0][:EXCERPT] if lines else type(error).__name__


def describe(error: BaseException) -> str:
    """An error in one line: its type, and the first line of its message."""
    line = first_line(error)
    return line if line == type(error).__name__ else f"{type(error).__name__}: {line}"


def with_causes(error: BaseException) -> list[BaseException]:
    """An error and those behind it, which a traceback shows too; each once, as errors may be each other's causes."""
    errors: list[BaseException] = []
    behind: BaseException | None = error
    while behind is not None and not any(behind is each for each in errors):
        errors.append(behind)
        behind = behind.__cause__ or behind.__context__
    return errors
