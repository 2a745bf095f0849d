"""Semantic joins: AI conditions over two tables, which are computed for pairs of rows, and pairs are many.

Reads the text of a statement, and the plan that DuckDB makes, where conditions on one table stand below the join.
LOTUS calls the operator sem_join.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from sqlinfer.functions import Functions
from sqlinfer.sql.internal_names import PREFIX
from sqlinfer.sql.parsing.parsed_calls import call_spans
from sqlinfer.sql.parsing.tokens import Token, text_of, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext

_CLAUSES = {"ON", "WHERE", "SELECT", "HAVING", "QUALIFY", "GROUP", "ORDER"}


def semantic_joins(sql: str, context: RewriteContext) -> list[str]:
    """The AI conditions that read columns of two tables, or stand in ON and do not name a table.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions())
    >>> semantic_joins("FROM a JOIN b ON ai_if(a.x || b.y, 'same?')", context)
    ["ai_if(a.x || b.y, 'same?')"]
    >>> semantic_joins("FROM a JOIN b ON a.i = b.i WHERE ai_if(a.x, 'good?')", context)
    []
    """
    tokens, joins = tokenize(sql), list[str]()
    for index, end in call_spans(tokens, context.functions):
        if context.functions[tokens[index].word].returns != "BOOLEAN":
            continue
        tables = _tables(tokens[index + 2 : end])
        if len(tables) > 1 or (not tables and _clause(tokens[:index], tokens[index].depth) == "ON"):
            joins.append(text_of(sql, tokens[index : end + 1]))
    return joins


def plan_has_semantic_join(plan: str, functions: Functions) -> bool:
    """Whether a condition in a plan, as EXPLAIN (FORMAT json) writes it, reads both sides of a join: it stands in the
    join, or above one for all pairs, as DuckDB moves it below if one side is enough."""
    if "JOIN" not in plan and "CROSS_PRODUCT" not in plan:
        return False
    names = {function.name for function in functions.values() if function.returns == "BOOLEAN"}
    conditions = re.compile(rf"\b{PREFIX}\d+_(?:{'|'.join(map(re.escape, names))})\b")  # as the UDFs are named
    return any(_joins(node, conditions) for node in json.loads(plan))


def _joins(node: dict[str, Any], conditions: re.Pattern[str]) -> bool:
    is_condition = conditions.search(str(node.get("extra_info", ""))) is not None
    if is_condition and ("JOIN" in node["name"] or (node["name"] == "FILTER" and _is_of_pairs(node))):
        return True
    return any(_joins(child, conditions) for child in node["children"])


def _is_of_pairs(node: dict[str, Any]) -> bool:
    """Whether the rows of a node are pairs of two others', with or without a condition."""
    while node["name"] in ("FILTER", "PROJECTION"):
        (node,) = node["children"]
    is_inner = node.get("extra_info", {}).get("Join Type") == "INNER"
    return node["name"] == "CROSS_PRODUCT" or ("JOIN" in node["name"] and is_inner)


def _tables(inside: Sequence[Token]) -> set[str]:
    """What stands before a dot, and behind none: tables, and structs at times."""
    behind = ["", *(token.text for token in inside)]
    return {
        token.word
        for before, (token, after) in zip(behind, pairwise(inside), strict=False)
        if token.word and after.text == "." and before != "."
    }


def _clause(before: Iterable[Token], depth: int) -> str:
    """The clause of a query that a position stands in; before: the tokens before it."""
    return next((t.keyword for t in reversed([*before]) if t.depth <= depth and t.keyword in _CLAUSES), "")
