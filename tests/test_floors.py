"""Imports go down only, heavy libraries stay on their floor, and a file is a noun or a pass that says what it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sqlinfer"
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS = {
    "types": 0,
    "errors": 0,
    "details": 1,
    "redact": 0,
    "parts": 1,
    "vectors": 1,
    "functions": 1,
    "job_settings": 1,
    "project_file": 2,
    "store": 2,
    "engine": 2,
    "sql": 3,
    "tiny": 3,
    "dbt": 4,
    "notebook": 4,
    "project": 4,
    "serve": 4,
    "cli": 5,
}
HOMES = {
    "torch": {"engine", "tiny"},
    "transformers": {"engine", "tiny"},
    "tokenizers": {"engine", "tiny"},
    "triton": {"engine"},
    "duckdb": {"sql", "dbt"},  # the plug-in's hooks get DuckDB's connections
    "dbt": {"dbt"},
    "sqlglot": {"sql"},
    "click": {"cli"},
    "jinja2": {"project"},
    "rich": {"cli"},
    "prompt_toolkit": {"cli"},
}
SQLGLOT_FILES = {"sql/dml.py", "sql/dialect.py"}
VAGUE = {"utils", "helpers", "common", "base", "core", "manager"}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, at any place of it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    mine = floor_of(path)
    for module in imported(path):
        root, _, rest = module.partition(".")
        if root in HOMES:
            assert mine in HOMES[root], f"{root} belongs to {HOMES[root]}"
        if root == "sqlglot":
            assert str(path.relative_to(PACKAGE)) in SQLGLOT_FILES
        other = rest.partition(".")[0]
        if root != "sqlinfer" or other not in FLOORS or mine not in FLOORS or other == mine:
            continue
        assert FLOORS[other] < FLOORS[mine], f"{mine} (floor {FLOORS[mine]}) imports {module}"


def test_the_package_itself_imports_no_floor_but_the_lowest() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    at_import = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert at_import <= {
        "__future__",
        "typing",
        "sqlinfer.functions.details",
        "sqlinfer.errors",
        "sqlinfer.functions.long_texts",
        "sqlinfer.types",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_a_name_and_says_what_it_does(path: Path) -> None:
    assert not VAGUE & set(path.relative_to(ROOT).with_suffix("").parts)
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert len(docstring.splitlines()) <= 8
