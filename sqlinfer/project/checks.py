"""The tests that a properties file names for a column, as nodes: each a SELECT of the rows that are wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.project.node import Column, Node
from sqlinfer.sql_text import quote_identifier, quote_literal

_Check = Callable[[str, Mapping[str, Any], str], tuple[str, str]]


def column_checks(node: Node, path: Path) -> Iterator[Node]:
    """The tests of a node's columns. path: of the properties file that names them."""
    for column in node.columns:
        for name, arguments in column.checks:
            yield _node(node, column, name, arguments, path)


def _node(node: Node, column: Column, name: str, arguments: Mapping[str, Any], path: Path) -> Node:
    where = f"{path}: {node.name}.{column.name}"
    if name not in CHECKS:
        raise SqlinferError(f"{where}: there is no test {name}. {nearest(name, CHECKS)}")
    known = _ARGUMENTS.get(name, ())
    for argument in arguments:
        if argument not in known:
            raise SqlinferError(f"{where}: {name} has no argument {argument}. {nearest(argument, known)}")
    before, after = CHECKS[name](quote_identifier(column.name), arguments, where)
    text = f"{_as_it_is(before)}{{{{ ref({json.dumps(node.name)}) }}}}{_as_it_is(after)}"
    words = re.sub(r"\W+", "_", f"{name}_{node.name}_{column.name}")
    return Node(words, "test", path, text, refs=(node.key,))


def _as_it_is(sql: str) -> str:
    """A template that gives this text, whatever is in it."""
    return f"{{{{ {json.dumps(sql, ensure_ascii=False)} }}}}"


def _unique(column: str, _: Mapping[str, Any], __: str) -> tuple[str, str]:
    return (
        f"SELECT {column}, count(*) AS num_rows FROM ",
        f" WHERE {column} IS NOT NULL GROUP BY {column} HAVING count(*) > 1",
    )


def _not_null(column: str, _: Mapping[str, Any], __: str) -> tuple[str, str]:
    return "SELECT * FROM ", f" WHERE {column} IS NULL"


def _accepted_values(column: str, arguments: Mapping[str, Any], where: str) -> tuple[str, str]:
    values = arguments.get("values")
    if not isinstance(values, list) or not values:
        raise SqlinferError(f"{where}: accepted_values needs a list of values below it, as `values: [a, b]`")
    listed = ", ".join(quote_literal(str(value)) for value in values)
    return (
        f"SELECT {column}, count(*) AS num_rows FROM ",
        f" WHERE {column}::VARCHAR NOT IN ({listed}) GROUP BY {column}",
    )


CHECKS: Mapping[str, _Check] = {"unique": _unique, "not_null": _not_null, "accepted_values": _accepted_values}
_ARGUMENTS = {"accepted_values": ("values",)}
