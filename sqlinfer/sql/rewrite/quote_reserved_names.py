"""A pass over SQL text: quote function names that DuckDB reserves, so that `summarize(x)` parses."""

from __future__ import annotations

from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.parsed_calls import call_spans
from sqlinfer.sql.parsing.references import is_call
from sqlinfer.sql.parsing.tokens import tokenize
from sqlinfer.sql.rewrite.context import RewriteContext

RESERVED = frozenset({"summarize"})
"""Names of AI functions that are reserved words in DuckDB (SUMMARIZE is a statement)."""


def quote_reserved_names(sql: str, context: RewriteContext) -> str:
    """Quote each call of a function whose name DuckDB reserves; all else stays to the letter.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions())
    >>> quote_reserved_names("SELECT Summarize(x), t.summarize() FROM (SUMMARIZE t)", context)
    'SELECT "summarize"(x), t.summarize() FROM (SUMMARIZE t)'
    """
    tokens, edits = tokenize(sql), Edits(sql)
    for index, _ in call_spans(tokens, RESERVED):
        token = tokens[index]
        # a name after a dot or in quotes is no keyword
        if token.keyword and token.word in context.functions and is_call(tokens, index):
            edits.replace(token.start, token.end, f'"{token.word}"')
    return edits.apply()
