"""Finds AI conditions over two tables: they ask about pairs of rows, and pairs are many. Reads tokens alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import pairwise

from sqlinfer.functions import Functions
from sqlinfer.sql.tokens import Token, closing, tokenize

_CLAUSES = {"ON", "WHERE", "SELECT", "HAVING", "QUALIFY", "GROUP", "ORDER"}


def asks_pairs(queries: Iterable[str], functions: Functions) -> bool:
    """Whether one of the queries has an AI condition over two tables."""
    conditions = [name for name, function in functions.items() if function.returns == "BOOLEAN"]
    return any(over_two_tables(query, conditions) for query in queries)


def over_two_tables(sql: str, conditions: Collection[str]) -> bool:
    """Whether a call of one of the conditions reads columns of two tables, or stands in ON and does not say whose.

    >>> over_two_tables("FROM a JOIN b ON f(a.x || b.y, 'same?')", ["f"])
    True
    >>> over_two_tables("FROM a JOIN b ON a.i = b.i WHERE f(a.x, 'good?')", ["f"])
    False
    """
    tokens = tokenize(sql)
    for index, (token, after) in enumerate(pairwise(tokens)):
        if token.word in conditions and after.text == "(":
            owners = _owners(tokens[index + 2 : closing(tokens, index + 1)])
            if len(owners) > 1 or (not owners and _clause(tokens[:index], token.depth) == "ON"):
                return True
    return False


def _owners(inside: list[Token]) -> set[str]:
    """What stands before a dot, and behind none: tables, and structs at times."""
    behind = ["", *(token.text for token in inside)]
    return {
        token.word
        for before, (token, after) in zip(behind, pairwise(inside), strict=False)
        if token.word and after.text == "." and before != "."
    }


def _clause(before: list[Token], depth: int) -> str:
    """The clause of a query that a place stands in."""
    return next((t.keyword for t in reversed(before) if t.depth <= depth and t.keyword in _CLAUSES), "")
