"""A pass over SQL text: positional parameters become named ones, so that any part of a statement runs with its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.parameters import SqlValues, is_positional
from sqlinfer.sql.parsing.tokens import tokenize
from sqlinfer.sql.rewrite.context import RewriteContext


def name_parameters(sql: str, context: RewriteContext) -> str:
    """Name the parameters of a statement that is run with values by position.

    >>> from sqlinfer.functions import load_functions
    >>> name_parameters("select f(?) from t where i > ?", RewriteContext(load_functions(), parameters=["x", 3]))
    'select f($p1) from t where i > $p2'
    """
    if context.parameters is None or isinstance(context.parameters, Mapping):
        return sql
    edits, count = Edits(sql), 0
    for token in tokenize(sql):
        if is_positional(token):
            count += 1
            edits.replace(token.start, token.end, f"$p{token.text[1:] or count}")
    return edits.apply()


def named_values(values: SqlValues) -> dict[str, Any] | None:
    """Values by the names that name_parameters gives; None if there are none.

    >>> named_values(["x", 3])
    {'p1': 'x', 'p2': 3}
    """
    if values is None:
        return None
    return dict(values if isinstance(values, Mapping) else {f"p{i}": v for i, v in enumerate(values, 1)}) or None


def own_values(sql: str, values: SqlValues) -> dict[str, Any] | None:
    """Those of the named values that a part of a statement uses; None if it uses none."""
    if not isinstance(values, Mapping):
        return None
    used = {token.text[1:].lower() for token in tokenize(sql) if token.text.startswith("$")}
    return {name: value for name, value in values.items() if name.lower() in used} or None
