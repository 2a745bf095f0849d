"""A pass over SQL text: the file of a COPY whose name is an expression gets its value, so that it is protected."""

from __future__ import annotations

from sqlinfer.sql.parsing.tokens import text_of, tokenize
from sqlinfer.sql.parsing.written_targets import copied_file, copy_target
from sqlinfer.sql.rewrite.context import RewriteContext
from sqlinfer.sql_text import quote_literal


def name_copied_file(sql: str, context: RewriteContext) -> str:
    """The statement with the name that its expression has now, unless the text says it or a parameter is part of it.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions(), value_of={"(getvariable('file'))": "a.csv"}.get)
    >>> name_copied_file("COPY t TO (getvariable('file')) (HEADER)", context)
    "COPY t TO 'a.csv' (HEADER)"
    """
    target = copy_target(tokens := tokenize(sql))
    if target is None or copied_file(sql, context.parameters) is not None:
        return sql
    expression = tokens[slice(*target)]
    if any(token.text[0] in "?$" for token in expression):
        return sql
    name = context.value_of(text_of(sql, expression))
    return f"{sql[: expression[0].start]}{quote_literal(name)}{sql[expression[-1].end :]}" if name is not None else sql
