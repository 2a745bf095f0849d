"""A pass over SQL text: the functions under the names that BigQuery gives them, in a schema `ai`."""

from __future__ import annotations

from itertools import pairwise

from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.tokens import Token, closing, split_at_commas, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext

_NAMES = {"generate": "ai_gen", "generate_text": "ai_gen"}
_ARGUMENTS = {"categories": "labels", "content": "text", "content1": "a", "content2": "b"}
_OF_TWO = {"if", "filter", "score"}
"""Functions whose prompt is a tuple there: the condition, then the text."""


def bigquery_names(sql: str, context: RewriteContext) -> str:
    """Write `AI.NAME(..)` as `ai_name(..)`, if the settings allow it. Raises SqlinferError for a name that no function
    has.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions(), ai_schema=True)
    >>> bigquery_names("SELECT AI.CLASSIFY(x, categories => ['a']), AI.IF(('late?', x))", context)
    "SELECT ai_classify(x, labels => ['a']), ai_if(x, 'late?')"
    """
    if not context.ai_schema:
        return sql
    tokens, edits = tokenize(sql), Edits(sql)
    for index in reversed(range(len(tokens) - 3)):
        schema, dot, name, opening = tokens[index : index + 4]
        if (schema.word, dot.text, opening.text) != ("ai", ".", "(") or (index and tokens[index - 1].text == "."):
            continue
        end = closing(tokens, index + 3)
        if end == len(tokens):
            continue
        function = _NAMES.get(name.word, f"ai_{name.word}")
        if function not in context.functions:
            names = [other.removeprefix("ai_") for other in context.functions if other.startswith("ai_")]
            raise SqlinferError(f"there is no function AI.{name.text}. {nearest(name.word, names)}")
        arguments = _arguments(edits, tokens[index + 4 : end], is_of_two=name.word in _OF_TWO)
        edits.replace(schema.start, tokens[end].end, f"{function}({arguments})")
    return edits.apply()


def _arguments(edits: Edits, inside: tuple[Token, ...], is_of_two: bool) -> str:
    """What stands between the parentheses, with our names for the arguments."""
    if not inside:
        return ""
    if is_of_two and inside[0].text == "(" and closing(inside, 0) == len(inside) - 1:
        parts = split_at_commas(inside[1:-1], inside[0].depth + 1)
        if len(parts) == 2 and all(parts):
            condition, text = (edits.render(part[0].start, part[-1].end) for part in parts)
            return f"{text}, {condition}"
    for name, sign in pairwise(inside):
        if name.word in _ARGUMENTS and sign.text in ("=>", ":=") and name.depth == inside[0].depth:
            edits.replace(name.start, name.end, _ARGUMENTS[name.word])
    return edits.render(inside[0].start, inside[-1].end)
