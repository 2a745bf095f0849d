"""Semantic joins: AI functions over two tables, which are computed for pairs of rows, and pairs are many.

Reads the plan that DuckDB makes, in which whatever one table suffices for stands below the join. LOTUS calls the
operator sem_join.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from sqlinfer.functions import Functions
from sqlinfer.sql.internal_names import PREFIX

PlanNode = dict[str, Any]
_ONE_ROW = {"UNGROUPED_AGGREGATE", "DUMMY_SCAN"}
_COUNTED = {"SEQ_SCAN", "COLUMN_DATA_SCAN"}  # how many rows these have is no estimate
_MULTIPLYING = {"INNER", "LEFT", "RIGHT", "FULL", "OUTER"}
_TEXT = re.compile(r"'(?:[^']|'')*'")
_NO_COLUMN = re.compile(r"\bAS [A-Z]+\b|[\w\"]+\(|\b(?:NULL|true|false)\b")  # types, functions, constants
_WORD = re.compile(r"[^\W\d]\w*|#\d+")


def functions_over_pairs(plans: Iterable[str], functions: Functions) -> frozenset[str]:
    """The functions that plans, as EXPLAIN (FORMAT json) writes them, compute for pairs of rows.

    They read both sides of a join, and stand in a condition, or above a join without an equality. What is joined by an
    equality and stands in no condition is a look-up, which gives about a row for a row.
    """
    names = "|".join(re.escape(function.name) for function in functions.values())
    calls = re.compile(rf"\b{PREFIX}\d+_({names})\(")  # as the UDFs are named
    nodes = (node for plan in plans if PREFIX in plan for root in json.loads(plan) for node in _nodes(root))
    return frozenset(
        call[1]
        for node in nodes
        for text in _expressions(node)
        for call in calls.finditer(text)
        if _is_over_pairs(node, _columns(text[call.end() :]))
    )


def _is_over_pairs(node: PlanNode, columns: set[str]) -> bool:
    """Whether a call in an expression of a node, which reads these columns, is computed for pairs of rows."""
    join = _join_below(node)
    if join is None or any(map(_is_one_row, join["children"])) or _is_one_sided(columns, join):
        return False
    kind = _facts(join).get("Join Type", "INNER")
    if node["name"] == "FILTER":
        return bool(kind == "INNER")  # DuckDB moves a condition into the join, or below it, if it can
    is_by_equality = join["name"] == "HASH_JOIN" or "DELIM" in join["name"]
    return node is join or (kind in _MULTIPLYING and not is_by_equality)


def _join_below(node: PlanNode) -> PlanNode | None:
    """The join whose rows a node reads; of a join it is the node itself."""
    while "JOIN" not in node["name"] and node["name"] != "CROSS_PRODUCT":
        if node["name"] not in ("FILTER", "PROJECTION"):
            return None
        (node,) = node["children"]
    return node


def _is_one_row(node: PlanNode) -> bool:
    while node["name"] == "PROJECTION":
        (node,) = node["children"]
    is_one = _facts(node).get("Estimated Cardinality") == "1" and "Filters" not in _facts(node)
    return node["name"] in _ONE_ROW or (node["name"] in _COUNTED and is_one)


def _is_one_sided(columns: set[str], join: PlanNode) -> bool:
    """Whether columns are known to be of one side of a join, all of them."""
    sides = [
        {word for node in _nodes(side) for text in _expressions(node) for word in _WORD.findall(text)}
        for side in join["children"]
    ]
    return any(columns <= side and all(columns.isdisjoint(o) for o in sides if o is not side) for side in sides)


def _columns(text: str) -> set[str]:
    """The columns that the arguments of a call name; text: from behind its opening parenthesis on."""
    text, depth = _TEXT.sub("", text), 1
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            text = text[:index]
            break
    return set(_WORD.findall(_NO_COLUMN.sub(" ", text)))


def _nodes(node: PlanNode) -> Iterator[PlanNode]:
    yield node
    for child in node["children"]:
        yield from _nodes(child)


def _facts(node: PlanNode) -> dict[str, Any]:
    return node.get("extra_info") or {}


def _expressions(node: PlanNode) -> Iterator[str]:
    for value in _facts(node).values():
        yield from [value] if isinstance(value, str) else value
