"""Imports go down only, heavy libraries stay on their floor, and a file is a noun or a pass that says what it does."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sqlinfer"
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS = {
    "types": 0,
    "errors": 0,
    "redact": 0,
    "sql_text": 0,
    "units": 0,
    "metrics": 0,
    "functions": 1,
    "config": 1,
    "model_files": 1,
    "store": 2,
    "engine": 2,
    "scoring": 2,
    "remote": 2,
    "backends": 3,
    "inference": 4,
    "mlflow": 4,
    "sql": 5,
    "project": 6,
    "notebook": 7,
    "dbt": 7,
    "serve": 7,
    "cli": 8,
}
SUB_FLOORS = {
    "sql": {
        "internal_names": 0,
        "parsing": 1,
        "rewrite": 2,
        "commands": 2,
        "udf": 3,
        "": 4,  # session, relation, plan, phases and the others
        "explain": 5,
        "comparison": 6,
    },
    "engine": {
        "generation_settings": 0,
        "request_windows": 0,
        "residency": 0,
        "step_thread": 0,
        "interruptible": 0,
        "text_stream": 0,
        "sequence": 1,
        "scheduler": 2,
        "cache": 3,
        "model": 4,
        "input": 5,
        "attention": 6,
        "batch": 7,
        "sampling": 8,
        "generation_loop": 9,
        "loaded_model": 9,
        "generator": 10,
        "encoder_runner": 10,
        "engine": 11,
        "engine_pool": 12,
    },
}
"""Within a package: its sub-packages and files by name, "" for all other files."""

HOMES = {
    "torch": {"engine"},
    "transformers": {"engine"},
    "tokenizers": {"engine"},
    "triton": {"engine"},
    "duckdb": {"sql", "dbt", "scoring"},  # the plug-in's hooks get DuckDB's connections
    "dbt": {"dbt"},
    "sqlglot": {"sql"},
    "click": {"cli"},
    "httpx2": {"remote"},
    "jsonschema": {"remote"},
    "tiktoken": {"remote"},
    "keyring": {"remote"},
    "jinja2": {"project"},
    "mlflow": {"mlflow", "scoring"},
    "rich": {"cli"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "prometheus_client": {"serve"},
    "tools": set(),  # not in the wheel
}
SQLGLOT_FILES = {"sql/parsing/dml_to_select.py", "sql/udf/type_dialects.py"}
REACHES_INTO_THE_ENGINE = {"tests/cli/test_dtype.py"}  # it fakes a machine that lacks a dtype
VAGUE = {"utils", "helpers", "common", "base", "core", "manager"}
VAGUE_VARIABLES = {"said", "found", "told", "what"}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, at any place of it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py") if path.is_relative_to(PACKAGE) else ""


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


@pytest.mark.parametrize("package", SUB_FLOORS)
def test_imports_go_down_inside_of_a_package(package: str) -> None:
    floors = SUB_FLOORS[package]
    for path in sorted((PACKAGE / package).rglob("*.py")):
        mine = part_of(path.relative_to(PACKAGE / package).with_suffix("").parts, floors)
        for module in imported(path):
            parts = module.split(".")
            if parts[:2] == ["sqlinfer", package] and path.name != "__init__.py":
                other = part_of(parts[2:], floors)
                assert other == mine or floors[other] < floors[mine], f"{path.relative_to(ROOT)} imports {module}"


def test_the_engine_is_imported_by_its_door_only() -> None:
    tests = [path for path in sorted((ROOT / "tests").rglob("*.py")) if "engine" not in path.relative_to(ROOT).parts]
    for path in [*FILES, *tests]:
        name = str(path.relative_to(ROOT))
        if floor_of(path) == "engine" or name in REACHES_INTO_THE_ENGINE:
            continue
        inside = [module for module in imported(path) if module.startswith("sqlinfer.engine.")]
        assert all(module.count(".") == 2 and not is_module(module) for module in inside), f"{name} imports {inside}"


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_a_name_of_a_class_means_one_thing() -> None:
    """Neither another class nor an alias of a type has it, in whatever file."""
    owners: dict[str, Path] = {}
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
                targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
                names = [name for name in targets if not name.isupper()]
            for name in names:
                owner = owners.setdefault(name.lstrip("_"), path)
                assert owner == path, f"{name} is a type in {owner.name} and in {path.name}"


def test_no_circle_of_imports() -> None:
    """Not even among imports for types (`if TYPE_CHECKING:`), or at first use."""
    modules = {name_of(path): path for path in FILES}
    graph = {
        name: {other for module in imported(path) if (other := module_of(module, modules)) not in (None, name)}
        for name, path in modules.items()
    }
    TopologicalSorter(graph).prepare()


def module_of(imported_name: str, modules: Mapping[str, Path]) -> str | None:
    """The module of this package that an imported name is, or stands in."""
    return next((name for name in (imported_name, imported_name.rpartition(".")[0]) if name in modules), None)


@pytest.mark.parametrize("folder", ["sqlinfer", "udfs", "tools", "extension"])
def test_a_variable_is_named_by_what_it_holds(folder: str) -> None:
    names = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (name := assigned(node)) in VAGUE_VARIABLES
    ]
    assert not names


def assigned(node: ast.AST) -> str | None:
    """The variable, parameter or attribute that a node assigns."""
    if isinstance(node, ast.arg):
        return node.arg
    if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
        return node.id if isinstance(node, ast.Name) else node.attr
    return None


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(parts: Sequence[str], floors: Mapping[str, int]) -> str:
    """The sub-package or file of a package, as its floors name it."""
    return parts[0] if parts and parts[0] in floors else ""


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


@pytest.mark.parametrize(
    "path", [path for path in FILES if floor_of(path) != "engine"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_only_an_object_itself_assigns_to_its_attributes(path: Path) -> None:
    """Parts of an object are given when it is made, or for as long as a context is open."""
    assert list(foreign_assignments(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("statement", ["session.job.only = keys", "runner.count += 1", "self.runner.job: int = 1"])
def test_an_assignment_from_outside_is_noticed(statement: str) -> None:
    assert list(foreign_assignments(ast.parse(f"def run(self, session, runner):\n    {statement}")))


def foreign_assignments(tree: ast.Module) -> Iterator[str]:
    """Assignments to attributes of what is neither self, nor a caught error, nor made by a call in the same function or
    at the top of the file. An error's args are its text, which has no other place."""
    made_globally = made_names(tree.body)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            nodes = list(ast.walk(function))
            own = {"self", "cls"} | made_globally | made_names(nodes)
            for node in nodes:
                is_assigned = (
                    isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr != "args"
                )
                if is_assigned and not (isinstance(node.value, ast.Name) and node.value.id in own):
                    yield f"line {node.lineno}: {ast.unparse(node)}"


def made_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that get what a call makes, and those of caught errors."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
    return names
