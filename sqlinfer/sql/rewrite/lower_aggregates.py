"""A pass over SQL text: AI aggregates with DISTINCT, ORDER BY, FILTER or OVER.

DuckDB allows those on its own aggregates alone, and ours are macros: so list() takes them, and ours takes the list.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.parsed_calls import call_spans
from sqlinfer.sql.parsing.tokens import Token, closing, first_keyword, split_at_commas, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext


def lower_aggregates(sql: str, context: RewriteContext) -> str:
    """Move what an AI aggregate's call says besides its arguments to list().

    Texts are in the order of ORDER BY; without one, sorted, so that equal groups give equal requests; in a window, in
    its order, and sorted in one that has none.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions())
    >>> lower_aggregates("SELECT ai_agg(DISTINCT x, 'how?' ORDER BY y) FILTER (WHERE z) FROM t", context)
    "SELECT ai_agg_list(list(DISTINCT x ORDER BY y) FILTER (WHERE z), 'how?') FROM t"
    >>> lower_aggregates("SELECT ai_agg(x, 'a') FILTER (z), ai_agg(x, 'b') FROM t", context)
    "SELECT ai_agg_list(list(x ORDER BY x) FILTER (z), 'a'), ai_agg(x, 'b') FROM t"
    >>> lower_aggregates("SELECT ai_agg(x, 'a') OVER (ORDER BY y) FROM t", context)
    "SELECT ai_agg_list(list(x) OVER (ORDER BY y), 'a') FROM t"
    >>> lower_aggregates("SELECT ai_agg(x, 'a') OVER (PARTITION BY y) FROM t", context)
    "SELECT ai_agg_list(list_sort(list(x) OVER (PARTITION BY y)), 'a') FROM t"
    """
    tokens, edits, list_names = tokenize(sql), Edits(sql), context.functions.list_names
    for index, end in reversed([*call_spans(tokens, list_names)]):
        if index and tokens[index - 1].text == ".":
            continue
        call_end = _end_of_call(tokens, end)
        call = _lowered(edits, tokens, (index, end, call_end))
        if call:
            start = tokens[index].start
            edits.replace(start, tokens[call_end - 1].end, f"{list_names[tokens[index].word]}({call})")
    return edits.apply()


def _lowered(edits: Edits, tokens: Sequence[Token], span: tuple[int, int, int]) -> str:
    """The arguments of the function over a list; "" if the call says no more than arguments. span: the index of the
    name, of the closing parenthesis, and of the first token after FILTER and OVER."""
    index, end, call_end = span
    inside = tokens[index + 2 : end]
    is_distinct = bool(inside) and inside[0].keyword == "DISTINCT"
    inside = inside[1:] if is_distinct else inside
    depth = tokens[index].depth + 1
    order_by = first_keyword(inside, "ORDER", depth=depth)
    parts = [part for part in split_at_commas(inside[:order_by], depth) if part]
    if not parts or not (is_distinct or order_by is not None or call_end > end + 1):
        return ""
    first, *rest = (edits.render(part[0].start, part[-1].end) for part in parts)
    window = first_keyword(tokens[:call_end], "OVER", depth=tokens[end].depth, start=end)
    texts = "DISTINCT " * is_distinct + first
    if order_by is not None:
        texts += " " + edits.render(inside[order_by].start, inside[-1].end)
    elif window is None:
        texts += f" ORDER BY {first}"
    texts = f"list({texts})"
    if call_end > end + 1:
        texts += " " + edits.render(tokens[end + 1].start, tokens[call_end - 1].end)
    if window is not None and order_by is None and not _has_order(tokens, window):
        texts = f"list_sort({texts})"
    return ", ".join([texts, *rest])


def _has_order(tokens: Sequence[Token], over: int) -> bool:
    """Whether a window has an order: its own, or that of the named window it is or begins with."""
    opens = tokens[over + 1].text == "("
    inside = tokens[over + 2 : closing(tokens, over + 1)] if opens else tokens[over + 1 : over + 2]
    if any(token.keyword == "ORDER" for token in inside):
        return True
    name = inside[0].word if inside else ""
    for index in range(over + 2, len(tokens) - 2):
        if tokens[index].word == name and tokens[index + 1].keyword == "AS" and tokens[index + 2].text == "(":
            return _has_order(tokens, index + 1)
    return False


def _end_of_call(tokens: Sequence[Token], end: int) -> int:
    """The index of the first token after a call and its FILTER and OVER; end: of its closing parenthesis."""
    position = end + 1
    for keyword in ("FILTER", "OVER"):
        if position + 1 < len(tokens) and tokens[position].keyword == keyword:
            opens = tokens[position + 1].text == "("
            position = 1 + (closing(tokens, position + 1) if opens else position + 1)
    return min(position, len(tokens))
