"""Properties files, models/**/*.yml: descriptions, columns with their tests, and sources, in dbt's form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlinfer.config.project_file import read_yaml
from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.project.node import Column, Source
from sqlinfer.sql_text import quote_identifier, quote_literal


@dataclass(frozen=True, slots=True)
class NodeProperties:
    """What a properties file says of a model or a seed.

    name: of the node.
    path: the properties file.
    description: for people.
    config: settings, not checked yet.
    columns: those that are described.
    """

    name: str
    path: Path
    description: str
    config: Mapping[str, Any]
    columns: tuple[Column, ...]


@dataclass(slots=True)
class Properties:
    """What all properties files of a project say.

    nodes: of models and seeds, by key.
    sources: by label.
    """

    nodes: dict[str, NodeProperties] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)


def read_properties(root: Path, paths: Iterable[Path]) -> Properties:
    """Read properties files; paths: from the project's folder. An error names the file and the key."""
    properties = Properties()
    for path in paths:
        content = read_yaml(root / path)
        _check_keys(content, ("version", "models", "seeds", "sources"), path)
        for entry in [*_entries(content, "models", path), *_entries(content, "seeds", path)]:
            described = _node_properties(entry, path)
            other = properties.nodes.setdefault(described.name.lower(), described)
            if other is not described:
                raise SqlinferError(f"{described.name} is described twice: in {other.path} and in {path}")
        for entry in _entries(content, "sources", path):
            for source in _sources(entry, path):
                if source.label in properties.sources:
                    raise SqlinferError(f"{path}: there are two sources {source.label}")
                properties.sources[source.label] = source
    return properties


def _node_properties(entry: Mapping[str, Any], path: Path) -> NodeProperties:
    where = f"{path}: {entry['name']}"
    _check_keys(entry, ("name", "description", "config", "columns"), where)
    config = entry.get("config") or {}
    if not isinstance(config, Mapping):
        raise SqlinferError(f"{where}: expected names and values below config, not {config!r}")
    return NodeProperties(entry["name"], path, _text(entry, where), config, _columns(entry, where))


def _columns(entry: Mapping[str, Any], where: str) -> tuple[Column, ...]:
    columns = []
    for column in _entries(entry, "columns", where):
        column_path = f"{where}.{column['name']}"
        _check_keys(column, ("name", "description", "tests", "data_tests"), column_path)
        tests = [*(column.get("tests") or []), *(column.get("data_tests") or [])]
        columns.append(
            Column(column["name"], _text(column, column_path), tuple(_check(test, column_path) for test in tests))
        )
    return tuple(columns)


def _check(test: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    """A test as a name, or as a name with arguments below it; dbt may put them below `arguments` once more."""
    if isinstance(test, str):
        return test, {}
    if isinstance(test, Mapping) and len(test) == 1:
        ((name, arguments),) = test.items()
        if isinstance(arguments, Mapping):
            inner = arguments.get("arguments", arguments)
            return str(name), inner if isinstance(inner, Mapping) else {}
    raise SqlinferError(f"{where}: a test is a name, or a name with arguments below it, not {test!r}")


def _sources(entry: Mapping[str, Any], path: Path) -> Iterable[Source]:
    group = entry["name"]
    where = f"{path}: {group}"
    _check_keys(entry, ("name", "description", "database", "schema", "config", "meta", "tables"), where)
    for table in _entries(entry, "tables", where):
        table_path = f"{where}.{table['name']}"
        _check_keys(table, ("name", "description", "identifier", "config", "meta", "columns"), table_path)
        location = _location(table, table_path) or _location(entry, where)
        if location is None:
            parts = [entry.get("database"), entry.get("schema", group), table.get("identifier", table["name"])]
            relation = ".".join(quote_identifier(str(part)) for part in parts if part is not None)
        else:
            location = location.replace("{name}", table["name"])
            relation = location if "(" in location else quote_literal(location)
        yield Source(group, table["name"], relation, _text(table, table_path), _columns(table, table_path))


def _location(entry: Mapping[str, Any], where: str) -> str | None:
    for key in ("config", "meta"):
        values = entry.get(key) or {}
        if not isinstance(values, Mapping):
            raise SqlinferError(f"{where}: expected names and values below {key}, not {values!r}")
        _check_keys(values, ("external_location",), f"{where}: {key}")
        if "external_location" in values:
            return str(values["external_location"])
    return None


def _entries(content: Mapping[str, Any], key: str, where: Path | str) -> list[Mapping[str, Any]]:
    """The entries of a list, each with a name."""
    entries = content.get(key) or []
    if not isinstance(entries, list):
        raise SqlinferError(f"{where}: expected a list below {key}, as `- name: ..`, not {entries!r}")
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise SqlinferError(f"{where}: each entry below {key} begins with `- name: ..`, not with {entry!r}")
    return entries


def _text(entry: Mapping[str, Any], where: str) -> str:
    text = entry.get("description") or ""
    if not isinstance(text, str):
        raise SqlinferError(f"{where}: description must be a text, not {text!r}")
    return " ".join(text.split())


def _check_keys(content: Mapping[str, Any], known_keys: tuple[str, ...], where: Path | str) -> None:
    for key in content:
        if key not in known_keys:
            raise SqlinferError(f"{where}: there is no key {key}. {nearest(str(key), known_keys)}")
