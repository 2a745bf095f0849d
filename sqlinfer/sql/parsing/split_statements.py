"""A SQL text as single statements."""

from __future__ import annotations

import string
from collections.abc import Iterator

from sqlinfer.sql.parsing.tokens import tokenize

_BLANK = string.whitespace + "\ufeff"
"""What may stand around a statement; a file of some editors begins with a byte order mark."""


def split_statements(sql: str) -> list[str]:
    """The statements of a text, without the semicolons between them.

    >>> split_statements("select ';' as a; -- done;\\nfrom t;")
    ["select ';' as a", '-- done;\\nfrom t']
    """
    tokens = tokenize(sql)
    statements, start, has_token = list[str](), 0, False
    for token in tokens:
        if token.text == ";" and token.depth == 0:
            if has_token:
                statements.append(sql[start : token.start].strip(_BLANK))
            start, has_token = token.end, False
        else:
            has_token = True
    if has_token or (not tokens and sql.strip(_BLANK)):
        statements.append(sql[start:].strip(_BLANK))
    return statements


def split_with_lines(sql: str) -> Iterator[tuple[int, str]]:
    """The statements of a text, each with the line where it begins; the first is 1."""
    position = 0
    for statement in split_statements(sql):
        position = sql.index(statement, position)
        yield sql.count("\n", 0, position) + 1, statement
        position += len(statement)
