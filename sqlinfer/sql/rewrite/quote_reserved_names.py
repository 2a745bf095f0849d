"""A pass over SQL text: quote function names that DuckDB reserves, so that `summarize(x)` parses."""

from __future__ import annotations

from collections.abc import Collection

from sqlinfer.sql.rewrite.tokens import tokenize

RESERVED = frozenset({"summarize"})
"""Names of SQL functions of ours that are reserved words in DuckDB (SUMMARIZE is a statement)."""
_QUERY = {"SELECT", "FROM", "WITH", "VALUES"}


def quote_reserved_names(sql: str, functions: Collection[str]) -> str:
    """Quote each call of a function whose name DuckDB reserves; all else stays to the letter.

    >>> quote_reserved_names("SELECT Summarize(x), t.summarize() FROM (SUMMARIZE t)", ["summarize"])
    'SELECT "summarize"(x), t.summarize() FROM (SUMMARIZE t)'
    """
    tokens = tokenize(sql)
    for index in reversed(range(len(tokens) - 2)):
        token, opening, inside = tokens[index : index + 3]
        reserved = token.keyword.lower() in RESERVED and token.word in functions
        called = opening.text == "(" and inside.keyword not in _QUERY  # SUMMARIZE (SELECT ..) is a statement
        if reserved and called and not (index > 0 and tokens[index - 1].text == "."):
            sql = f'{sql[: token.start]}"{token.word}"{sql[token.end :]}'
    return sql
