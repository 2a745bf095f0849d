"""A condition as its parts, whatever its spelling: parentheses, AND, OR and NOT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.tokens import QUERY_WORDS, Token, closing


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that is to be true.

    operator: AND, OR, or "" for one without parts.
    parts: what it joins; none is of the same operator.
    tokens: as it is written, without its parentheses and the NOT before it.
    is_negated: whether NOT stands before the tokens; the operator and the parts are those after it was moved inwards.
    """

    operator: str
    parts: tuple[Condition, ...]
    tokens: Sequence[Token]
    is_negated: bool = False


def split_condition(tokens: Sequence[Token], is_negated: bool = False) -> Condition:
    """The parts of a condition.

    >>> from sqlinfer.sql.parsing.tokens import tokenize
    >>> condition = split_condition(tokenize("((a AND b BETWEEN 1 AND 2) AND NOT (c AND NOT d))"))
    >>> condition.operator, [(part.operator, part.tokens[0].text) for part in condition.parts]
    ('AND', [('', 'a'), ('', 'b'), ('OR', 'c')])
    """
    while _is_wrapped(tokens):
        tokens = tokens[1:-1]
    for operator in ("OR", "AND"):
        parts = _split(tokens, operator)
        if len(parts) > 1:
            return _joined(operator, parts, tokens, is_negated)
    if len(tokens) > 1 and tokens[0].keyword == "NOT":
        return split_condition(tokens[1:], not is_negated)
    return Condition("", (), tokens, is_negated)


def condition_text(condition: Condition, edits: Edits) -> str:
    """The text of a condition with the edits inside it; it can stand beside AND."""
    text = edits.render(condition.tokens[0].start, condition.tokens[-1].end)
    return f"{'NOT ' * condition.is_negated}{f'({text})' if condition.parts else text}"


def _joined(operator: str, parts: Sequence[Sequence[Token]], tokens: Sequence[Token], is_negated: bool) -> Condition:
    """A conjunction or disjunction; under NOT it is the other one, of the negated parts."""
    operator = {"AND": "OR", "OR": "AND"}[operator] if is_negated else operator
    flat: list[Condition] = []
    for part in parts:
        condition = split_condition(part, is_negated)
        flat += condition.parts if condition.operator == operator else [condition]
    return Condition(operator, tuple(flat), tokens, is_negated)


def _is_wrapped(tokens: Sequence[Token]) -> bool:
    """Whether a condition stands in parentheses of its own: no subquery and no row."""
    if len(tokens) < 3 or tokens[0].text != "(" or tokens[1].keyword in QUERY_WORDS:
        return False
    end = closing(tokens, 0)
    inside = tokens[1:-1]
    return end == len(tokens) - 1 and not any(t.text == "," and t.depth == inside[0].depth for t in inside)


def _split(tokens: Sequence[Token], operator: str) -> list[Sequence[Token]]:
    """The parts between the outermost ANDs or ORs; the whole where that is no condition."""
    depth = min((token.depth for token in tokens), default=0)
    parts: list[list[Token]] = [[]]
    cases = betweens = 0
    for token in tokens:
        if token.depth == depth:
            cases += (token.keyword == "CASE") - (token.keyword == "END")
            betweens += token.keyword == "BETWEEN" and cases == 0
            if token.keyword == operator and cases == 0:
                if operator == "OR" or not betweens:
                    parts.append([])
                    continue
                betweens -= 1
        parts[-1].append(token)
    return [*parts] if all(parts) else [tokens]
