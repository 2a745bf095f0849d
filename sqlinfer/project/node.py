"""What a project consists of: nodes (models, seeds, tests) with their settings and columns, and sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.sql_text import quote_identifier

NodeType = Literal["model", "seed", "test"]


@dataclass(frozen=True, slots=True)
class Config:
    """The settings that a model gives with config(..).

    materialized: table, view, incremental or ephemeral.
    unique_key: columns by which an incremental model replaces rows; none: rows are appended.
    model: the default model of its AI calls.
    on_error: the default of its AI calls.
    tags: for --select tag:NAME.
    """

    materialized: str = "table"
    unique_key: tuple[str, ...] = ()
    model: str | None = None
    on_error: str = "fail"
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a properties file describes.

    name: of the column.
    description: as written.
    checks: name and arguments of each of its tests.
    """

    name: str
    description: str = ""
    checks: tuple[tuple[str, Mapping[str, Any]], ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A table or file that the project reads and does not make.

    group: the name of the source in the properties file.
    name: of the table.
    relation: its SQL.
    description: as written.
    columns: those that are described.
    """

    group: str
    name: str
    relation: str
    description: str = ""
    columns: tuple[Column, ...] = ()

    @property
    def label(self) -> str:
        """As a person names it."""
        return f"{self.group}.{self.name}"


@dataclass(frozen=True, slots=True)
class Node:
    """A model, a seed or a test.

    name: of its table; of a test, its own.
    node_type: model, seed or test.
    path: its file, relative to the project's folder.
    text: the template of its SELECT; empty for a seed.
    config: its settings.
    refs: keys of the nodes that it reads.
    sources: labels of the sources that it reads.
    description: as written.
    columns: those that are described.
    """

    name: str
    node_type: NodeType
    path: Path
    text: str = ""
    config: Config = field(default_factory=Config)
    refs: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    description: str = ""
    columns: tuple[Column, ...] = ()

    @property
    def key(self) -> str:
        """The name as DuckDB compares names."""
        return self.name.lower()

    @property
    def materialized(self) -> str:
        """What it becomes, in one word."""
        return self.config.materialized if self.node_type == "model" else self.node_type

    @property
    def relation(self) -> str:
        """Its name in SQL."""
        return quote_identifier(self.name)


def read_config(values: Mapping[str, Any], where: str, base: Config | None = None) -> Config:
    """Check the settings of a model; base: what holds where it says none. An error names where, the setting and the
    value."""
    read: dict[str, Any] = {}
    for name, value in values.items():
        if name not in _READERS:
            raise SqlinferError(f"{where}: config has no {name}. {nearest(name, _READERS)}")
        wanted, reader = _READERS[name]
        try:
            read[name] = reader(value)
        except ValueError:
            raise SqlinferError(f"{where}: {name} must be {wanted}, not {value!r}") from None
    return replace(base or Config(), **read)


def _names(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise ValueError
    return tuple(names)


def _model(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise ValueError
    return value


def _one_of(*known: str) -> tuple[str, Callable[[Any], str]]:
    def read(value: Any) -> str:
        if value not in known:
            raise ValueError
        return str(value)

    return f"one of {', '.join(known)}", read


_READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "materialized": _one_of("table", "view", "incremental", "ephemeral"),
    "unique_key": ("a name or a list of names", _names),
    "model": ("the name of a model", _model),
    "on_error": _one_of("fail", "null"),
    "tags": ("a name or a list of names", _names),
}
