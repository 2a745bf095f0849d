"""How models are named: 'name', 'name@alias', 'name/3'; knows no database."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlinfer.errors import SqlinferError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_VERSIONED = re.compile(r"(.+)/([0-9]+)")


@dataclass(frozen=True, slots=True)
class Reference:
    """A model's name as written in SQL, taken apart.

    name: without alias and version.
    alias: behind @; None if there is a version or none is written.
    version: behind /; None if there is an alias or none is written.
    """

    name: str
    alias: str | None = None
    version: int | None = None


def parse_reference(written: str) -> Reference:
    """Take a name apart.

    >>> parse_reference("news/short@champion")
    Reference(name='news/short', alias='champion', version=None)
    >>> parse_reference("news/3")
    Reference(name='news', alias=None, version=3)
    """
    name, at, alias = written.partition("@")
    if at:
        return Reference(name, alias=alias)
    versioned = _VERSIONED.fullmatch(written)
    if versioned:
        return Reference(versioned[1], version=int(versioned[2]))
    return Reference(written)


def check_name(name: str) -> None:
    """Raise SqlinferError unless a model can be registered under the name."""
    if not _NAME.fullmatch(name):
        raise SqlinferError(f"{name!r} is not a valid model name: use letters, digits and . _ - /, as in 'news-short'.")
    if _VERSIONED.fullmatch(name):
        raise SqlinferError(f"{name!r} is not a valid model name: a number after the last / is read as a version.")


def check_alias(alias: str) -> None:
    """Raise SqlinferError unless the alias can be one."""
    if not _ALIAS.fullmatch(alias):
        raise SqlinferError(
            f"{alias!r} is not a valid alias: use a letter, then letters, digits and . _ -, as in 'champion'."
        )
