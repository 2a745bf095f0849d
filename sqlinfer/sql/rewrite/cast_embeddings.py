"""A pass over SQL text: calls that give embeddings are FLOAT[n], with the n of the model that they ask.

Definitions that outlive the statement (views, macros) are left alone, as their model may be another one later; and so
are statements that compare lists, as DuckDB's functions for that fail on an array that is NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlinfer.functions import Function
from sqlinfer.sql.rewrite.parsed_calls import parsed_calls
from sqlinfer.sql.rewrite.tokens import has_name, tokenize

_LASTING = {"VIEW", "MACRO", "FUNCTION"}
_OF_LISTS = {
    *("list_distance", "list_cosine_similarity", "list_cosine_distance", "list_inner_product", "list_dot_product"),
    *("list_negative_inner_product", "list_negative_dot_product"),
}


def cast_embeddings(sql: str, functions: Mapping[str, Function], width: Callable[[str | None], int | None]) -> str:
    """Cast each call of a function whose value is a Vector. width: the n of a model, by the name that a call says or
    for the default one; None if it cannot be told, and the call stays FLOAT[].

    >>> from sqlinfer.functions import load_functions
    >>> cast_embeddings("SELECT ai_embed(x)[1] FROM t", load_functions(), lambda model: 64)
    'SELECT (ai_embed(x)::FLOAT[64])[1] FROM t'
    """
    tokens = tokenize(sql)
    head = [token.keyword for token in tokens[:6]]
    if head[:1] == ["PREPARE"] or (head[:1] == ["CREATE"] and _LASTING & {*head}) or has_name(tokens, _OF_LISTS):
        return sql
    said: list[tuple[int, str]] = []
    for call in parsed_calls(sql, functions):
        if not call.function.is_vector or call.start is None:
            continue
        try:
            number = width(call.constant("model"))
        except ValueError:  # a column says the model
            continue
        if number is not None:
            said += [(call.start, "("), (call.close, f"::FLOAT[{number}])")]
    for at, text in sorted(said, reverse=True):
        sql = sql[:at] + text + sql[at:]
    return sql
