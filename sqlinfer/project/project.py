"""Reads a project's folder into nodes, and turns a node's template into SQL. Knows no database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlinfer.config.folders import PROJECT_FILE
from sqlinfer.config.project_file import ProjectFile, read_project_file
from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.project.checks import column_checks
from sqlinfer.project.graph import check
from sqlinfer.project.node import Config, Node, Source, read_config
from sqlinfer.project.properties import Properties, read_properties
from sqlinfer.project.template import Scan, TemplateNames, Templates
from sqlinfer.sql.parsing.split_statements import split_statements
from sqlinfer.sql.parsing.tokens import tokenize
from sqlinfer.units import count

_SEEDS = ("csv", "parquet")


@dataclass(frozen=True, slots=True)
class Project:
    """A folder of model files.

    root: the folder.
    file: its sqlinfer.yml.
    nodes: by key, each after those that it reads.
    sources: by label.
    templates: render the SQL of its nodes.
    """

    root: Path
    file: ProjectFile
    nodes: Mapping[str, Node]
    sources: Mapping[str, Source]
    templates: Templates

    @property
    def name(self) -> str:
        return self.file.name or self.root.name

    @property
    def database(self) -> str:
        """The DuckDB file, from the project's folder."""
        return self.file.database or f"{self.name}.duckdb"

    def sql(self, node: Node, is_incremental: bool = False) -> str:
        """The SELECT of a node."""

        def ref(name: str) -> str:
            other = self.nodes[name.lower()]
            return f"(\n{self.sql(other)}\n)" if other.materialized == "ephemeral" else other.relation

        def source(group: str, name: str) -> str:
            return self.sources[f"{group}.{name}"].relation

        names = TemplateNames(ref, source, this=node.relation, is_incremental=is_incremental)
        text = self.templates.render(node.path, node.text, names)
        statements = [statement for statement in split_statements(text) if tokenize(statement)]
        if len(statements) != 1:
            raise SqlinferError(f"{node.path} must be one SELECT, and has {count(len(statements), 'statement')}")
        return statements[0]

    def fingerprint(self, node: Node) -> str:
        """Changes with what a build makes of a node: its SELECT, with macros and variables in it, its config; the
        content of a seed."""
        content = (self.root / node.path).read_bytes() if node.node_type == "seed" else self.sql(node).encode()
        return sha256(repr(node.config).encode() + content).hexdigest()


def load(root: Path, variables: Mapping[str, Any] | None = None) -> Project:
    """Read a project. variables: win over those of its file. Errors name the files: of two nodes with one name, of a
    reference to nothing, of a cycle."""
    file = read_project_file(root / PROJECT_FILE)
    templates = Templates(
        [(path, _read(root, path)) for path in _files(root, "macros", "sql")], {**file.vars, **(variables or {})}
    )
    properties = read_properties(
        root, [path for folder in ("models", "seeds") for path in _files(root, folder, "yml", "yaml")]
    )
    nodes_of_files = [_model(root, path, templates, properties) for path in _files(root, "models", "sql")]
    nodes_of_files += [_seed(path, properties) for path in _files(root, "seeds", *_SEEDS)]
    _check_described(properties, nodes_of_files)
    checks = [each for node in nodes_of_files for each in _checks(node, properties)]
    tests = [_test(root, path, templates) for path in _files(root, "tests", "sql")]
    nodes = _by_key([*nodes_of_files, *checks, *tests])
    _check_sources(nodes.values(), properties.sources)
    return Project(root, file, check(nodes), properties.sources, templates)


def _files(root: Path, folder: str, *endings: str) -> list[Path]:
    """The files of a folder with one of these endings, from the project's folder, in order."""
    paths = (path for ending in endings for path in (root / folder).rglob(f"*.{ending}") if path.is_file())
    return sorted(path.relative_to(root) for path in paths)


def _read(root: Path, path: Path) -> str:
    try:
        return (root / path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SqlinferError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def _model(root: Path, path: Path, templates: Templates, properties: Properties) -> Node:
    text = _read(root, path)
    scan = templates.scan(path, text)
    described = properties.nodes.get(path.stem.lower())
    config = Config() if described is None else read_config(described.config, str(described.path))
    config = read_config(scan.config, str(path), config)
    if config.unique_key and config.materialized != "incremental":
        raise SqlinferError(
            f"{path}: unique_key is for materialized='incremental', and this is a {config.materialized}"
        )
    return _described(_node(path, "model", text, scan, config), properties)


def _seed(path: Path, properties: Properties) -> Node:
    return _described(Node(_name(path), "seed", path), properties)


def _test(root: Path, path: Path, templates: Templates) -> Node:
    text = _read(root, path)
    scan = templates.scan(path, text)
    return _node(path, "test", text, scan, read_config(scan.config, str(path)))


def _node(path: Path, node_type: Any, text: str, scan: Scan, config: Config) -> Node:
    refs, sources = tuple(name.lower() for name in scan.refs), tuple(".".join(pair) for pair in scan.sources)
    return Node(_name(path), node_type, path, text, config, refs, sources)


def _name(path: Path) -> str:
    if not re.fullmatch(r"[^\W\d]\w*", path.stem):
        raise SqlinferError(f"{path}: {path.stem!r} is not a valid table name: use letters, digits and _")
    return path.stem


def _described(node: Node, properties: Properties) -> Node:
    described = properties.nodes.get(node.key)
    if described is None:
        return node
    return replace(node, description=described.description, columns=described.columns)


def _checks(node: Node, properties: Properties) -> Iterable[Node]:
    described = properties.nodes.get(node.key)
    return column_checks(node, described.path) if described else ()


def _check_described(properties: Properties, nodes: Iterable[Node]) -> None:
    names = {node.key: node.name for node in nodes}
    for key, described in properties.nodes.items():
        if key not in names:
            hint = nearest(described.name, names.values())
            raise SqlinferError(f"{described.path} describes {described.name}, but there is no such file. {hint}")


def _check_sources(nodes: Iterable[Node], sources: Mapping[str, Source]) -> None:
    for node in nodes:
        for label in node.sources:
            if label not in sources:
                raise SqlinferError(
                    f"{node.path}: there is no source {label}. {nearest(label, sources)} "
                    f"Sources are described in a .yml file of models/"
                )


def _by_key(nodes: Iterable[Node]) -> dict[str, Node]:
    nodes_by_key: dict[str, Node] = {}
    for node in nodes:
        other = nodes_by_key.setdefault(node.key, node)
        if other is not node:
            raise SqlinferError(f"There are two nodes {node.name}: {other.path} and {node.path}")
    return nodes_by_key
