"""Properties files, models/**/*.yml: descriptions, columns with their tests, and sources, in dbt's form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlinfer.config.project_file import read_yaml
from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.project.node import Column, Source
from sqlinfer.sql_text import quote_identifier


@dataclass(frozen=True, slots=True)
class Described:
    """What a properties file says of a model or a seed."""

    name: str
    path: Path
    description: str
    config: Mapping[str, Any]
    columns: tuple[Column, ...]


@dataclass(slots=True)
class Properties:
    """What all properties files of a project say: of its nodes, by their keys, and of sources, by their labels."""

    described: dict[str, Described] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)


def read_properties(root: Path, paths: Iterable[Path]) -> Properties:
    """Read properties files; paths: from the project's folder. An error names the file and the key."""
    found = Properties()
    for path in paths:
        said = read_yaml(root / path)
        _check_keys(said, ("version", "models", "seeds", "sources"), path)
        for entry in [*_entries(said, "models", path), *_entries(said, "seeds", path)]:
            described = _described(entry, path)
            other = found.described.setdefault(described.name.lower(), described)
            if other is not described:
                raise SqlinferError(f"{described.name} is described twice: in {other.path} and in {path}")
        for entry in _entries(said, "sources", path):
            for source in _sources(entry, path):
                if source.label in found.sources:
                    raise SqlinferError(f"{path}: there are two sources {source.label}")
                found.sources[source.label] = source
    return found


def _described(entry: Mapping[str, Any], path: Path) -> Described:
    where = f"{path}: {entry['name']}"
    _check_keys(entry, ("name", "description", "config", "columns"), where)
    config = entry.get("config") or {}
    if not isinstance(config, Mapping):
        raise SqlinferError(f"{where}: expected names and values below config, not {config!r}")
    return Described(entry["name"], path, _text(entry, where), config, _columns(entry, where))


def _columns(entry: Mapping[str, Any], where: str) -> tuple[Column, ...]:
    columns = []
    for said in _entries(entry, "columns", where):
        place = f"{where}.{said['name']}"
        _check_keys(said, ("name", "description", "tests", "data_tests"), place)
        tests = [*(said.get("tests") or []), *(said.get("data_tests") or [])]
        columns.append(Column(said["name"], _text(said, place), tuple(_check(test, place) for test in tests)))
    return tuple(columns)


def _check(said: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    """A test as a name, or as a name with arguments below it; dbt may put them below `arguments` once more."""
    if isinstance(said, str):
        return said, {}
    if isinstance(said, Mapping) and len(said) == 1:
        ((name, arguments),) = said.items()
        if isinstance(arguments, Mapping):
            inner = arguments.get("arguments", arguments)
            return str(name), inner if isinstance(inner, Mapping) else {}
    raise SqlinferError(f"{where}: a test is a name, or a name with arguments below it, not {said!r}")


def _sources(entry: Mapping[str, Any], path: Path) -> Iterable[Source]:
    group = entry["name"]
    where = f"{path}: {group}"
    _check_keys(entry, ("name", "description", "database", "schema", "config", "meta", "tables"), where)
    for table in _entries(entry, "tables", where):
        place = f"{where}.{table['name']}"
        _check_keys(table, ("name", "description", "identifier", "config", "meta", "columns"), place)
        location = _location(table, place) or _location(entry, where)
        if location is None:
            parts = [entry.get("database"), entry.get("schema", group), table.get("identifier", table["name"])]
            relation = ".".join(quote_identifier(str(part)) for part in parts if part is not None)
        else:
            location = location.replace("{name}", table["name"])
            relation = location if "(" in location else "'" + location.replace("'", "''") + "'"
        yield Source(group, table["name"], relation, _text(table, place), _columns(table, place))


def _location(entry: Mapping[str, Any], where: str) -> str | None:
    for key in ("config", "meta"):
        said = entry.get(key) or {}
        if not isinstance(said, Mapping):
            raise SqlinferError(f"{where}: expected names and values below {key}, not {said!r}")
        _check_keys(said, ("external_location",), f"{where}: {key}")
        if "external_location" in said:
            return str(said["external_location"])
    return None


def _entries(said: Mapping[str, Any], key: str, where: Path | str) -> list[Mapping[str, Any]]:
    """The entries of a list, each with a name."""
    entries = said.get(key) or []
    if not isinstance(entries, list):
        raise SqlinferError(f"{where}: expected a list below {key}, as `- name: ..`, not {entries!r}")
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise SqlinferError(f"{where}: each entry below {key} begins with `- name: ..`, and not with {entry!r}")
    return entries


def _text(entry: Mapping[str, Any], where: str) -> str:
    text = entry.get("description") or ""
    if not isinstance(text, str):
        raise SqlinferError(f"{where}: description must be a text, not {text!r}")
    return " ".join(text.split())


def _check_keys(said: Mapping[str, Any], known: tuple[str, ...], where: Path | str) -> None:
    for key in said:
        if key not in known:
            raise SqlinferError(f"{where}: there is no key {key}. {nearest(str(key), known)}")
