"""A pass over SQL text: put cheap conditions before AI conditions, whichever side of AND they stand on.

Ordering of expensive predicates, written into the SQL: DuckDB may run a boolean function before a cheap computed
condition. In each condition of WHERE, ON, HAVING and QUALIFY that has both, `ai AND cheap` becomes `cheap AND CASE
WHEN cheap THEN ai END`, and `ai OR cheap` becomes `CASE WHEN cheap THEN true ELSE ai END`: the same rows pass, and the
model sees only rows that the cheap part leaves open. Of several AI conditions the next is computed where the one before
leaves it open.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlinfer.sql.parsing.conditions import Condition, condition_text, split_condition
from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.tokens import QUERY_WORDS, Token, has_any, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext

_OPENS = {"WHERE", "ON", "HAVING", "QUALIFY"}
_ENDS = {
    *_OPENS, "SELECT", "FROM", "GROUP", "WINDOW", "ORDER", "LIMIT", "OFFSET", "UNION", "INTERSECT", "EXCEPT", "FETCH",
    "RETURNING", "WHEN", "THEN", "DO", "JOIN", "LEFT", "RIGHT", "INNER", "FULL", "CROSS", "ASOF", "SEMI", "ANTI",
    "NATURAL", "POSITIONAL", "USING", "TABLESAMPLE", "WITH", "PIVOT", "UNPIVOT",
}  # fmt: skip
_SEARCHES = {"LIKE", "ILIKE", "SIMILAR", "GLOB", "EXISTS"}
_MANY_TOKENS = 100
_OTHER_JOINS = {"LEFT", "OUTER", "RIGHT", "FULL", "SEMI", "ANTI", "ASOF", "POSITIONAL", "NATURAL"}


def order_predicates(sql: str, context: RewriteContext) -> str:
    """Guard the AI conditions of a statement.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions(), ai_names=frozenset({"f"}))
    >>> order_predicates("FROM t WHERE f(x) AND n % 2 = 0", context)
    'FROM t WHERE n % 2 = 0 AND CASE WHEN n % 2 = 0 THEN f(x) END'
    >>> order_predicates("FROM t WHERE f(x) AND f(y)", context)
    'FROM t WHERE CASE WHEN f(x) THEN f(y) END'
    >>> order_predicates("FROM t WHERE f(x) OR n = 0", context)
    'FROM t WHERE CASE WHEN n = 0 THEN true ELSE f(x) END'
    """
    tokens, edits, ai_offsets = tokenize(sql), Edits(sql), context.ai_references(sql)
    for index in reversed(range(len(tokens))):
        is_distinct_on = tokens[index].keyword == "ON" and index > 0 and tokens[index - 1].keyword == "DISTINCT"
        if tokens[index].keyword in _OPENS and not is_distinct_on:
            _guard_clause(edits, tokens, index, ai_offsets)
    return edits.apply()


def nested_conditions(conditions: Sequence[str]) -> str:
    """A conjunction in which each condition is computed only where all before it are true.

    >>> nested_conditions(["a", "b", "c"])
    'CASE WHEN a THEN CASE WHEN b THEN c END END'
    """
    *first, last = conditions
    return "".join(f"CASE WHEN {condition} THEN " for condition in first) + last + " END" * len(first)


def _guard_clause(edits: Edits, tokens: Sequence[Token], opening: int, ai_offsets: Collection[int]) -> None:
    clause = _clause(tokens, opening + 1)
    if not has_any(clause, ai_offsets) or tokens[opening + 1].keyword == "CONFLICT":
        return
    condition = split_condition(clause)
    joins = _join_conditions(edits, tokens, opening, ai_offsets)
    if not condition.parts and not joins:
        return
    order = _Order(edits, ai_offsets, is_one_table=_reads_one_table(tokens, opening))
    edits.replace(clause[0].start, clause[-1].end, order.guarded(condition, joins))


@dataclass(frozen=True, slots=True)
class _Order:
    """Writes conditions with their cheap parts first.

    edits: of the whole statement.
    ai_offsets: starts of the tokens that lead to AI functions.
    is_one_table: whether the conditions stand in WHERE, over one table.
    """

    edits: Edits
    ai_offsets: Collection[int]
    is_one_table: bool

    def guarded(self, condition: Condition, joins: Sequence[str] = ()) -> str:
        """The condition of a clause. What DuckDB can check early, in a scan or as it joins, stands before all else."""
        if condition.operator != "AND":
            return nested_conditions([*joins, self._nested(condition)])
        cheap, ai = self._divided(condition)
        early = [self._text(part) for part in cheap if self._is_early(part)]
        inside = [" AND ".join(self._text(part) for part in cheap)] if cheap else []
        return " AND ".join([*early, nested_conditions([*joins, *inside, *map(self._nested, ai)])])

    def _nested(self, condition: Condition) -> str:
        """A condition in which each part is computed only where the parts before it leave it open."""
        if not condition.parts or not self._is_ai(condition):
            return self._text(condition)
        cheap, ai = self._divided(condition)
        if condition.operator == "AND":
            inside = [" AND ".join(self._text(part) for part in cheap)] if cheap else []
            return nested_conditions([*inside, *map(self._nested, ai)])
        *first, last = [*map(self._text, cheap), *map(self._nested, ai)]
        return "".join(f"CASE WHEN {part} THEN true ELSE " for part in first) + last + " END" * len(first)

    def _divided(self, condition: Condition) -> tuple[list[Condition], list[Condition]]:
        ai = [part for part in condition.parts if self._is_ai(part)]
        return [part for part in condition.parts if not self._is_ai(part)], ai

    def _is_ai(self, condition: Condition) -> bool:
        return has_any(condition.tokens, self.ai_offsets)

    def _text(self, condition: Condition) -> str:
        return condition_text(condition, self.edits)

    def _is_early(self, condition: Condition) -> bool:
        """Whether a cheap condition is worth computing twice: by itself it can be a key of a join or part of a scan."""
        tokens = condition.tokens
        is_query = any(opening.text == "(" and word.keyword in QUERY_WORDS for opening, word in pairwise(tokens))
        if is_query or len(tokens) > _MANY_TOKENS:
            return False
        is_called = any(name.word and opening.text == "(" and not _is_in(name) for name, opening in pairwise(tokens))
        return not self.is_one_table or not (is_called or any(token.keyword in _SEARCHES for token in tokens))


def _is_in(token: Token) -> bool:
    return token.keyword in ("IN", "AND", "OR", "NOT", "BETWEEN")


def _reads_one_table(tokens: Sequence[Token], where: int) -> bool:
    """Whether a clause is the WHERE of a query over one table."""
    if tokens[where].keyword != "WHERE":
        return False
    depth = tokens[where].depth
    for token in reversed(tokens[:where]):
        if token.depth < depth or (token.depth == depth and token.keyword in ("JOIN", "USING", "UPDATE")):
            return token.depth < depth
        if token.depth == depth and token.text == ",":
            return False
        if token.depth == depth and token.keyword == "FROM":
            return True
    return False


def _join_conditions(edits: Edits, tokens: Sequence[Token], where: int, ai_offsets: Collection[int]) -> list[str]:
    """The conditions of the joins before a WHERE, if all are inner: they hold there, and name both sides, so that
    DuckDB does not compute an AI condition below the join, for rows that find no partner."""
    depth = tokens[where].depth
    before = [i for i in range(where) if tokens[i].depth == depth]
    start = next((i for i in reversed(before) if tokens[i].keyword in ("FROM", "SELECT")), None)
    if tokens[where].keyword != "WHERE" or start is None or any(t.depth < depth for t in tokens[start:where]):
        return []
    if tokens[start].keyword != "FROM" or _OTHER_JOINS & {tokens[i].keyword for i in before if i > start}:
        return []
    clauses = [_clause(tokens, i + 1) for i in before if i > start and tokens[i].keyword == "ON"]
    cheap = [clause for clause in clauses if clause and not has_any(clause, ai_offsets)]
    return [" AND ".join(f"({edits.render(clause[0].start, clause[-1].end)})" for clause in cheap)] if cheap else []


def _clause(tokens: Sequence[Token], first: int) -> Sequence[Token]:
    """The tokens of the condition that begins at index first."""
    if first >= len(tokens):
        return ()
    depth = tokens[first].depth
    cases = 0
    for index in range(first, len(tokens)):
        token = tokens[index]
        if token.depth < depth or (token.depth == depth and token.text in ",;" and cases == 0):
            return tokens[first:index]
        if token.depth == depth:
            cases += (token.keyword == "CASE") - (token.keyword == "END")
            if cases < 0 or (cases == 0 and token.keyword in _ENDS and not _is_part(tokens, index)):
                return tokens[first:index]
    return tokens[first:]


def _is_part(tokens: Sequence[Token], index: int) -> bool:
    """Whether a word that usually ends a condition is part of one here: `left(x, 2)` or `IS [NOT] DISTINCT FROM`."""
    called = index + 1 < len(tokens) and tokens[index + 1].text == "(" and tokens[index].keyword in ("LEFT", "RIGHT")
    distinct = index > 0 and tokens[index].keyword == "FROM" and tokens[index - 1].keyword == "DISTINCT"
    return called or distinct
