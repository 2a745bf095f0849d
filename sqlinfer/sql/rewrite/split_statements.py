"""A SQL text as single statements, and their parameters by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlinfer.sql.rewrite.tokens import tokenize


def split(sql: str) -> list[str]:
    """The statements of a text, without the semicolons between them.

    >>> split("select ';' as a; -- done;\\nfrom t;")
    ["select ';' as a", '-- done;\\nfrom t']
    """
    tokens = tokenize(sql)
    statements, start, has_token = [], 0, False
    for token in tokens:
        if token.text == ";" and token.depth == 0:
            if has_token:
                statements.append(sql[start : token.start].strip())
            start, has_token = token.end, False
        else:
            has_token = True
    if has_token or (not tokens and sql.strip()):
        statements.append(sql[start:].strip())
    return statements


def placed(sql: str) -> Iterator[tuple[int, str]]:
    """The statements of a text, each with the line where it begins; the first is 1."""
    at = 0
    for statement in split(sql):
        at = sql.index(statement, at)
        yield sql.count("\n", 0, at) + 1, statement
        at += len(statement)


def name_parameters(sql: str, values: Sequence[Any] | Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """Positional parameters as named ones, so that any part of a statement can be run with its own.

    >>> name_parameters("select f(?) from t where i > ?", ["x", 3])
    ('select f($p1) from t where i > $p2', {'p1': 'x', 'p2': 3})
    """
    if values is None:
        return sql, {}
    if isinstance(values, Mapping):
        return sql, dict(values)
    parts, done, count = [], 0, 0
    for token in tokenize(sql):
        if re.fullmatch(r"\?\d*|\$\d+", token.text):
            count += 1
            parts += [sql[done : token.start], f"$p{token.text[1:] or count}"]
            done = token.end
    return "".join([*parts, sql[done:]]), {f"p{i + 1}": value for i, value in enumerate(values)}


def own_parameters(sql: str, values: Sequence[Any] | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Those of the named values that a part of a statement uses; None if it uses none."""
    if not isinstance(values, Mapping):
        return None
    used = {token.text[1:].lower() for token in tokenize(sql) if token.text.startswith("$")}
    return {name: value for name, value in values.items() if name.lower() in used} or None
