"""How the files of a udfs/ folder become functions.

A file holds one function: its name is the SQL name, its signature the SQL signature, the first line of its
docstring the help. It turns one row into a request, asks in Steps, or computes its value without a model; the return
annotation tells. A second function `read`, if there is one, turns a request's output into the value, and its return
annotation says the SQL type. Where the type depends on the call, a function `returns` says it, given some of the
arguments; a function `check` refuses what no row can be asked with. Knows no SQL text and no model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from sqlinfer.errors import SqlinferError
from sqlinfer.functions.answer_hashes import ANSWER_HASHES
from sqlinfer.functions.function import OPTIONS, RETURNS, Argument, Function, Functions
from sqlinfer.functions.modules import load_module
from sqlinfer.types import AnyRequest, Columns, Count, Embedding, Float, Request, Text

SQL_TYPES: Mapping[Any, str] = {
    str: "VARCHAR",
    bool: "BOOLEAN",
    int: "INTEGER",
    float: "DOUBLE",
    Float: "FLOAT",
    Text: "VARCHAR",
    Count: "INTEGER",
    Embedding: "FLOAT[]",
}


def built_in_folder() -> Path:
    """The folder of the functions that come with sqlinfer, in the wheel or in a source checkout."""
    package = Path(__file__).parents[1]
    inside = package / "udfs"
    return inside if inside.is_dir() else package.parent / "udfs"


def load_functions(*folders: Path) -> Functions:
    """The built-in functions and those of the user's folders; a folder that is not there is empty.

    A copy of a file is no second function: a checkout's udfs/ may stand beside the installed ones.
    """
    functions: dict[tuple[str, str], Function] = {}
    seen: set[Path] = set()
    for folder in (built_in_folder(), *folders):
        where = folder.resolve()
        if where not in seen and where.is_dir():
            seen.add(where)
            loaded = (load_function(path) for path in sorted(where.glob("*.py")) if not path.name.startswith("_"))
            for function in loaded:
                functions.setdefault((function.name, function.file_hash), function)
    return Functions(functions.values())


def load_function(path: Path) -> Function:
    """Load one file; an error names the file and what is wrong in it."""
    try:
        module, file_hash, requests_hash = load_module(path)
    except Exception as error:
        raise SqlinferError(f"{path}: {type(error).__name__}: {error}") from error
    name = path.stem.lower()
    ask = getattr(module, path.stem, None)
    if not inspect.isfunction(ask):
        raise SqlinferError(f"{path}: expected a function `def {path.stem}(...) -> Request` (the file's name)")
    help_text = (inspect.getdoc(ask) or "").partition("\n")[0]
    if not help_text:
        raise SqlinferError(f"{path}: {path.stem} needs a docstring; its first line is the function's help")
    read = getattr(module, "read", None)
    type_of = getattr(module, RETURNS, None)
    value_type = _hints(read if read else ask, path).get("return", Request)
    is_in_steps = get_origin(value_type) is Generator
    if is_in_steps:
        value_type = get_args(value_type)[2]
    is_request = not read and value_type in get_args(AnyRequest)
    if is_request:
        value_type = value_type.output_type
    arguments = _arguments(ask, path)
    is_aggregate = bool(getattr(module, "AGGREGATE", False))
    if is_aggregate and arguments[0].python_type != list[str]:
        raise SqlinferError(
            f"{path}: the first argument of an aggregate must be list[str], not {arguments[0].python_type}"
        )
    is_built_in = path.resolve().parent == built_in_folder().resolve()
    return Function(
        name=name,
        aliases=tuple(alias.lower() for alias in getattr(module, "ALIASES", ())),
        arguments=arguments,
        returns="VARCHAR" if type_of is not None else _sql_type(value_type, path),
        help=help_text,
        file_hash=file_hash,
        answer_hash=ANSWER_HASHES.get(name, requests_hash) if is_built_in else requests_hash,
        path=path,
        ask=ask,
        read=read,
        is_aggregate=is_aggregate,
        is_computed=not read and not is_request and not is_in_steps,
        is_in_steps=is_in_steps,
        type_of=type_of,
        check=getattr(module, "check", None),
        is_vector=value_type is Embedding,
        scored=getattr(module, "SCORED", ""),
    )


def _arguments(ask: Callable[..., Any], path: Path) -> tuple[Argument, ...]:
    hints = _hints(ask, path)
    arguments = []
    for parameter in inspect.signature(ask).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise SqlinferError(f"{path}: {path.stem} must not take *{parameter.name}; SQL needs each argument's name")
        if parameter.name in OPTIONS and parameter.name != "model":
            raise SqlinferError(f"{path}: every function takes {parameter.name} already; choose another name")
        arguments.append(Argument(parameter.name, hints.get(parameter.name, str), parameter.default))
    if any(a.python_type is Columns for a in arguments) and "reorder" not in {a.name for a in arguments}:
        raise SqlinferError(f"{path}: {path.stem} takes Columns but has no argument `reorder: bool = False`")
    if not arguments:
        raise SqlinferError(f"{path}: {path.stem} takes no argument, so all rows would send the same request")
    return tuple(arguments)


def _hints(function: Callable[..., Any], path: Path) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError as error:
        raise SqlinferError(f"{path}: {error} in the signature of {function.__name__}") from error


def _sql_type(python_type: Any, path: Path) -> str:
    """The SQL type of a Python type."""
    if python_type in SQL_TYPES:
        return SQL_TYPES[python_type]
    if get_origin(python_type) is list:
        return _sql_type(get_args(python_type)[0], path) + "[]"
    if is_typeddict(python_type):
        fields = get_type_hints(python_type).items()
        return f"STRUCT({', '.join(f'{name} {_sql_type(field, path)}' for name, field in fields)})"
    names = ", ".join(k.__name__ for k in SQL_TYPES)
    raise SqlinferError(
        f"{path}: the return annotation must be a request, or the value's type: one of {names}, a list or a TypedDict "
        f"of them, or Steps[..] of one; a file that returns Choose or Classify needs a function `read`, whose return "
        f"annotation is the value's type. It is {python_type!r}"
    )
