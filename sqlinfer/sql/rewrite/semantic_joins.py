"""Finds AI conditions over two tables: they ask about pairs of rows, and pairs are many. Reads tokens, and the plan
that DuckDB makes, where conditions on one table stand below the join."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import duckdb

from sqlinfer.functions import Functions
from sqlinfer.sql.internal_names import PREFIX
from sqlinfer.sql.rewrite.tokens import Token, closing, tokenize

_CLAUSES = {"ON", "WHERE", "SELECT", "HAVING", "QUALIFY", "GROUP", "ORDER"}


def asks_pairs(
    queries: Iterable[str], functions: Functions, explain: Callable[[str], list[tuple[str, str]]] | None = None
) -> bool:
    """Whether one of the queries has an AI condition over two tables. explain: the rows of EXPLAIN (FORMAT json) for a
    query; without it views and subqueries are not looked into."""
    conditions = {name: function.name for name, function in functions.items() if function.returns == "BOOLEAN"}
    called = re.compile(rf"\b{PREFIX}\d+_(?:{'|'.join(map(re.escape, {*conditions.values()}))})\b")
    for query in queries:
        if over_two_tables(query, conditions):
            return True
        with suppress(duckdb.Error):  # the probe says what is wrong
            if explain is not None and any(_joins(node, called) for _, plan in explain(query) for node in _read(plan)):
                return True
    return False


def _read(plan: str) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = json.loads(plan)
    return nodes


def _joins(node: dict[str, Any], called: re.Pattern[str]) -> bool:
    """Whether a condition in a plan reads both sides of a join: it stands in the join, or above one for all pairs, as
    DuckDB moves it below if one side is enough."""
    says = called.search(str(node.get("extra_info", ""))) is not None
    if says and "JOIN" in node["name"]:
        return True
    if says and node["name"] == "FILTER" and _pairs(node):
        return True
    return any(_joins(child, called) for child in node["children"])


def _pairs(node: dict[str, Any]) -> bool:
    """Whether the rows of a node are pairs of two others', with or without a condition."""
    while node["name"] in ("FILTER", "PROJECTION"):
        (node,) = node["children"]
    is_inner = node.get("extra_info", {}).get("Join Type") == "INNER"
    return node["name"] == "CROSS_PRODUCT" or ("JOIN" in node["name"] and is_inner)


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
