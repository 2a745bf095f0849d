"""A pass over SQL text: quote function names that DuckDB reserves, so that `summarize(x)` parses."""

from __future__ import annotations

from collections.abc import Collection

from sqlinfer.sql.tokens import tokenize

RESERVED = frozenset({"summarize"})
"""Names of SQL functions of ours that are reserved words in DuckDB (SUMMARIZE is a statement)."""


def spelling(sql: str, functions: Collection[str]) -> str:
    """Quote each call of a function whose name DuckDB reserves; all else stays to the letter.

    >>> spelling("SELECT Summarize(x), t.summarize() FROM (SUMMARIZE t)", ["summarize"])
    'SELECT "summarize"(x), t.summarize() FROM (SUMMARIZE t)'
    """
    tokens = tokenize(sql)
    parts: list[str] = []
    done = 0
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        reserved = token.keyword.lower() in RESERVED and token.word in functions
        called = after is not None and after.text == "(" and after.start == token.end
        if reserved and called and not (before is not None and before.text == "."):
            parts += [sql[done : token.start], f'"{token.word}"']
            done = token.end
    return "".join([*parts, sql[done:]])
