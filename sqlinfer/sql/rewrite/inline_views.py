"""A pass over the text of a probe: views with AI functions become common table expressions, so that the passes after it
reach what is written in them.
"""

from __future__ import annotations

from sqlinfer.sql.parsing.references import referenced_words
from sqlinfer.sql.parsing.tokens import has_name, text_of, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext

_BRANCHES = {"case", "coalesce", "ifnull", "if"}


def inline_views(sql: str, context: RewriteContext) -> str:
    """Put the views that a query reads from before it, if one of them has branches; a name with a schema stays.

    >>> from sqlinfer.functions import load_functions
    >>> view = ("v", "CREATE VIEW v(a) AS SELECT coalesce(f(x), g(x)) FROM t;")
    >>> context = RewriteContext(load_functions(), views=(view,))
    >>> inline_views("WITH q AS (FROM v) SELECT a FROM q", context)
    'WITH v(a) AS (SELECT coalesce(f(x), g(x)) FROM t), q AS (FROM v) SELECT a FROM q'
    """
    names, tokens = {name for name, _ in context.views}, tokenize(sql)
    has_branches = any(has_name(tokenize(text), _BRANCHES) for _, text in context.views)
    if not has_branches or not names & referenced_words(sql):
        return sql
    if any(token.word in names and tokens[index - 1].text == "." for index, token in enumerate(tokens) if index):
        return sql
    views = ", ".join(_as_expression(text) for _, text in context.views)
    has_with = tokens[0].keyword == "WITH"
    start = tokens[1].end if has_with and tokens[1].keyword == "RECURSIVE" else tokens[0].end if has_with else 0
    return f"{sql[:start]} {views}, {sql[start:].lstrip()}" if has_with else f"WITH {views} {sql}"


def _as_expression(definition: str) -> str:
    """CREATE VIEW name AS query, as name AS (query)."""
    tokens = tokenize(definition)
    words = [token.keyword for token in tokens]
    view, query = words.index("VIEW"), words.index("AS")
    name = max((i for i in range(view + 1, query) if tokens[i - 1].text == "."), default=view + 1)
    body = [token for token in tokens[query + 1 :] if token.text != ";"]
    return f"{text_of(definition, tokens[name:query])} AS ({text_of(definition, body)})"
