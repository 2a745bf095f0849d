"""A pass over SQL text: lists of distinct values have an order, so that a call over one is the same request each time.

DuckDB gives `list(DISTINCT x)` in an order that changes from run to run, and from thread to thread.
"""

from __future__ import annotations

from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.parsed_calls import call_spans
from sqlinfer.sql.parsing.tokens import first_keyword, split_at_commas, text_of, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext

_LISTS = {"list", "array_agg", "string_agg", "group_concat", "listagg"}


def order_distinct_lists(sql: str, context: RewriteContext) -> str:
    """Order the values of each aggregate of distinct values that has no order, in statements that call AI functions.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions())
    >>> order_distinct_lists("SELECT ai_classify(x, (SELECT list(DISTINCT y) FROM t))", context)
    'SELECT ai_classify(x, (SELECT list(DISTINCT y ORDER BY y) FROM t))'
    """
    if "distinct" not in sql.lower():
        return sql
    tokens, edits = tokenize(sql), Edits(sql)
    if not any(call_spans(tokens, context.functions)):
        return sql
    for index, end in call_spans(tokens, _LISTS):
        inside, depth = tokens[index + 2 : end], tokens[index].depth + 1
        is_ordered = first_keyword(inside, "ORDER", depth=depth) is not None
        is_window = end + 1 < len(tokens) and tokens[end + 1].keyword in ("OVER", "FILTER")
        if inside and inside[0].keyword == "DISTINCT" and not is_ordered and not is_window:
            value = text_of(sql, split_at_commas(inside[1:], depth)[0])
            edits.insert(tokens[end - 1].end, f" ORDER BY {value}")
    return edits.apply()
