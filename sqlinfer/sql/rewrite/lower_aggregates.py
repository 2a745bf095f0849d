"""A pass over SQL text: AI aggregates with DISTINCT, ORDER BY, FILTER or OVER.

DuckDB allows those on its own aggregates alone, and ours are macros: so list() takes them, and ours takes the list.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlinfer.sql.rewrite.tokens import Token, closing, text_of, tokenize


def lower_aggregates(sql: str, list_names: Mapping[str, str]) -> str:
    """Move what an AI aggregate's call says besides its arguments to list().

    list_names: for each aggregate the function that takes a list. Texts are in the order of ORDER BY; without one,
    sorted, so that equal groups ask the same; in a window, in its order, and sorted in one that has none.

    >>> lower_aggregates("SELECT f(DISTINCT x, 'how?' ORDER BY y) FILTER (WHERE z) FROM t", {"f": "f_list"})
    "SELECT f_list(list(DISTINCT x ORDER BY y) FILTER (WHERE z), 'how?') FROM t"
    >>> lower_aggregates("SELECT f(x) FILTER (z), f(x, 'how?') FROM t", {"f": "f_list"})
    "SELECT f_list(list(x ORDER BY x) FILTER (z)), f(x, 'how?') FROM t"
    >>> lower_aggregates("SELECT f(x) OVER (ORDER BY y) FROM t", {"f": "f_list"})
    'SELECT f_list(list(x) OVER (ORDER BY y)) FROM t'
    >>> lower_aggregates("SELECT f(x) OVER (PARTITION BY y) FROM t", {"f": "f_list"})
    'SELECT f_list(list_sort(list(x) OVER (PARTITION BY y))) FROM t'
    """
    for index in reversed(range(len(tokens := tokenize(sql)))):
        if tokens[index].word in list_names:
            sql = _rewritten(sql, index, list_names[tokens[index].word])
    return sql


def _rewritten(sql: str, index: int, list_name: str) -> str:
    """The text with the call at a token's index rewritten, if it is one and says more than arguments."""
    tokens = tokenize(sql)
    opening = index + 1
    end = closing(tokens, opening) if opening < len(tokens) and tokens[opening].text == "(" else len(tokens)
    if end == len(tokens) or (index > 0 and tokens[index - 1].text == "."):
        return sql
    after = _after(tokens, end)
    inside = tokens[opening + 1 : end]
    is_distinct = bool(inside) and inside[0].keyword == "DISTINCT"
    arguments, order = _parted(inside[1:] if is_distinct else inside, tokens[opening].depth + 1)
    if not arguments or not (is_distinct or order or after > end + 1):
        return sql
    first, *rest = (text_of(sql, argument) for argument in arguments)
    over = next(
        (i for i in range(end, after) if tokens[i].keyword == "OVER" and tokens[i].depth == tokens[end].depth), 0
    )
    listed = "DISTINCT " * is_distinct + first
    if order:
        listed += " " + text_of(sql, order)
    elif not over:
        listed += f" ORDER BY {first}"
    said = text_of(sql, tokens[end + 1 : after])
    texts = f"list({listed})" + (f" {said}" if said else "")
    if over and not order and not _has_order(tokens, over):
        texts = f"list_sort({texts})"
    call = ", ".join([texts, *rest])
    return f"{sql[: tokens[index].start]}{list_name}({call}){sql[tokens[after - 1].end :]}"


def _has_order(tokens: list[Token], over: int) -> bool:
    """Whether a window has an order: its own, or that of the named window it is or begins with."""
    opens = tokens[over + 1].text == "("
    inside = tokens[over + 2 : closing(tokens, over + 1)] if opens else [tokens[over + 1]]
    if any(token.keyword == "ORDER" for token in inside):
        return True
    name = inside[0].word if inside else ""
    for index in range(over + 2, len(tokens) - 2):
        if tokens[index].word == name and tokens[index + 1].keyword == "AS" and tokens[index + 2].text == "(":
            return _has_order(tokens, index + 1)
    return False


def _parted(inside: list[Token], depth: int) -> tuple[list[list[Token]], list[Token]]:
    """The arguments of a call, and its ORDER BY clause."""
    arguments: list[list[Token]] = [[]]
    for number, token in enumerate(inside):
        if token.depth == depth and token.keyword == "ORDER":
            return [argument for argument in arguments if argument], inside[number:]
        if token.depth == depth and token.text == ",":
            arguments.append([])
        else:
            arguments[-1].append(token)
    return [argument for argument in arguments if argument], []


def _after(tokens: list[Token], end: int) -> int:
    """The index of the first token after a call and its FILTER and OVER; end: of its closing parenthesis."""
    position = end + 1
    for keyword in ("FILTER", "OVER"):
        if position + 1 < len(tokens) and tokens[position].keyword == keyword:
            opens = tokens[position + 1].text == "("
            position = 1 + (closing(tokens, position + 1) if opens else position + 1)
    return min(position, len(tokens))
