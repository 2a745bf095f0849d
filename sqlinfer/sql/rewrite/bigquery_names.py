"""A pass over SQL text: the functions under the names that BigQuery gives them, in a schema `ai`."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.sql.rewrite.tokens import Token, closing, text_of, tokenize

_NAMES = {"generate": "ai_gen", "generate_text": "ai_gen"}
_ARGUMENTS = {"categories": "labels", "content": "text", "content1": "a", "content2": "b"}
_OF_TWO = {"if", "filter", "score"}
"""Functions whose prompt is a tuple there: the condition, then the text."""


def bigquery_names(sql: str, functions: Collection[str]) -> str:
    """Write `AI.NAME(..)` as `ai_name(..)`. Raises SqlinferError for a name that no function has.

    >>> bigquery_names("SELECT AI.CLASSIFY(x, categories => ['a']), AI.IF(('late?', x))", {"ai_classify", "ai_if"})
    "SELECT ai_classify(x, labels => ['a']), ai_if(x, 'late?')"
    """
    for index in reversed(range(len(tokens := tokenize(sql)) - 3)):
        schema, dot, name, opening = tokens[index : index + 4]
        if (schema.word, dot.text, opening.text) != ("ai", ".", "(") or (index and tokens[index - 1].text == "."):
            continue
        tokens = tokenize(sql)  # calls inside this one are written already
        end = closing(tokens, index + 3)
        if end == len(tokens):
            continue
        ours = _NAMES.get(name.word, f"ai_{name.word}")
        if ours not in functions:
            hint = nearest(name.word, [known.removeprefix("ai_") for known in functions if known.startswith("ai_")])
            raise SqlinferError(f"there is no function AI.{name.text}. {hint}")
        inside = _arguments(sql, tokens[index + 4 : end], is_of_two=name.word in _OF_TWO)
        sql = f"{sql[: schema.start]}{ours}({inside}){sql[tokens[end].end :]}"
    return sql


def _arguments(sql: str, inside: list[Token], is_of_two: bool) -> str:
    """What stands between the parentheses, with our names for the arguments."""
    if not inside:
        return ""
    if is_of_two and inside[0].text == "(" and inside[-1].text == ")" and closing(inside, 0) == len(inside) - 1:
        depth = inside[0].depth + 1
        commas = [place for place, token in enumerate(inside) if token.text == "," and token.depth == depth]
        if len(commas) == 1:
            (comma,) = commas
            return f"{text_of(sql, inside[comma + 1 : -1])}, {text_of(sql, inside[1:comma])}"
    start, text = inside[0].start, text_of(sql, inside)
    for name, sign in reversed(list(pairwise(inside))):
        if name.word in _ARGUMENTS and sign.text in ("=>", ":=") and name.depth == inside[0].depth:
            text = text[: name.start - start] + _ARGUMENTS[name.word] + text[name.end - start :]
    return text
