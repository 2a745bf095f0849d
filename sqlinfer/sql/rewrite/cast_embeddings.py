"""A pass over SQL text: calls that give embeddings are FLOAT[n], with the n of the model that they call.

Definitions that outlive the statement (views, macros) are left alone, as their model may be another one later; and so
are statements that compare lists, as DuckDB's functions for that fail on an array that is NULL.
"""

from __future__ import annotations

from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.parsed_calls import parsed_calls
from sqlinfer.sql.parsing.tokens import has_name, keywords, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext

_LASTING = {"VIEW", "MACRO", "FUNCTION"}
_OF_LISTS = {
    *("list_distance", "list_cosine_similarity", "list_cosine_distance", "list_inner_product", "list_dot_product"),
    *("list_negative_inner_product", "list_negative_dot_product"),
}


def cast_embeddings(sql: str, context: RewriteContext) -> str:
    """Cast each call of a function whose value is a Vector; one whose width is unknown stays FLOAT[].

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions(), embedding_width=lambda model: 64)
    >>> cast_embeddings("SELECT ai_embed(x)[1] FROM t", context)
    'SELECT (ai_embed(x)::FLOAT[64])[1] FROM t'
    """
    tokens, edits = tokenize(sql), Edits(sql)
    head = keywords(tokens[:6])
    if head[:1] == ["PREPARE"] or (head[:1] == ["CREATE"] and _LASTING & {*head}) or has_name(tokens, _OF_LISTS):
        return sql
    for call in parsed_calls(sql, context.functions):
        if not call.function.is_vector or call.start is None:
            continue
        try:
            width = context.embedding_width(call.constant("model"))
        except ValueError:  # a column names the model
            continue
        if width is not None:
            edits.insert(call.start, "(")
            edits.insert(call.end, f"::FLOAT[{width}])")
    return edits.apply()
