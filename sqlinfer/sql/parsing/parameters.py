"""The parameters of a statement, and the values that they have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlinfer.sql.parsing.tokens import Token

SqlValues = Sequence[Any] | Mapping[str, Any] | None
"""The values of a statement's parameters, by position or by name."""


def is_positional(token: Token) -> bool:
    """Whether a token is a parameter without a name: ?, ?1 or $1."""
    return re.fullmatch(r"\?\d*|\$\d+", token.text) is not None


def parameter_value(tokens: Sequence[Token], index: int, values: SqlValues) -> Any:
    """The value of the parameter at an index; None if there is none.

    >>> from sqlinfer.sql.parsing.tokens import tokenize
    >>> tokens = tokenize("? $2 $a")
    >>> parameter_value(tokens, 0, "xy"), parameter_value(tokens, 1, "xy"), parameter_value(tokens, 2, {"a": "z"})
    ('x', 'y', 'z')
    """
    text = tokens[index].text
    if isinstance(values, Mapping):
        return values.get(text[1:]) if text.startswith("$") else None
    if values is None or not is_positional(tokens[index]):
        return None
    position = int(text[1:]) if text[1:] else sum(map(is_positional, tokens[: index + 1]))
    return values[position - 1] if 0 < position <= len(values) else None
