"""A pass over SQL text: put cheap conditions before AI conditions, whichever side of AND they stand on.

Ordering of expensive predicates, written into the SQL: DuckDB may run a boolean function before a cheap computed
condition. In each conjunction of WHERE, ON, HAVING and QUALIFY that has both, `ai AND cheap` becomes `cheap AND CASE
WHEN cheap THEN ai END`: the same rows pass, and the model sees only rows that pass the cheap part. Of several AI
conditions the next is computed where the one before holds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.tokens import Token, has_name, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext

_OPENS = {"WHERE", "ON", "HAVING", "QUALIFY"}
_ENDS = {
    *_OPENS, "SELECT", "FROM", "GROUP", "WINDOW", "ORDER", "LIMIT", "OFFSET", "UNION", "INTERSECT", "EXCEPT", "FETCH",
    "RETURNING", "WHEN", "THEN", "DO", "JOIN", "LEFT", "RIGHT", "INNER", "FULL", "CROSS", "ASOF", "SEMI", "ANTI",
    "NATURAL", "POSITIONAL", "USING", "TABLESAMPLE", "WITH", "PIVOT", "UNPIVOT",
}  # fmt: skip
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
    'FROM t WHERE f(x) OR n = 0'
    """
    tokens, edits = tokenize(sql), Edits(sql)
    for index in reversed(range(len(tokens))):
        is_distinct_on = tokens[index].keyword == "ON" and index > 0 and tokens[index - 1].keyword == "DISTINCT"
        if tokens[index].keyword in _OPENS and not is_distinct_on:
            _guard_clause(edits, tokens, index, context.ai_names)
    return edits.apply()


def nested_conditions(conditions: Sequence[str]) -> str:
    """A conjunction in which each condition is computed only where all before it are true.

    >>> nested_conditions(["a", "b", "c"])
    'CASE WHEN a THEN CASE WHEN b THEN c END END'
    """
    *first, last = conditions
    return "".join(f"CASE WHEN {condition} THEN " for condition in first) + last + " END" * len(first)


def _guard_clause(edits: Edits, tokens: Sequence[Token], opening: int, ai_names: Collection[str]) -> None:
    clause = _clause(tokens, opening + 1)
    if not has_name(clause, ai_names) or tokens[opening + 1].keyword == "CONFLICT":
        return
    parts = [(edits.render(part[0].start, part[-1].end), has_name(part, ai_names)) for part in _conjuncts(clause)]
    ai = [text for text, is_ai in parts if is_ai]
    cheap = [text for text, is_ai in parts if not is_ai]
    joins = _join_conditions(edits, tokens, opening, ai_names)
    if len(ai + cheap + joins) < 2:
        return
    condition = [" AND ".join(cheap)] if cheap else []
    guarded = [*condition, nested_conditions([*joins, *condition, *ai])]
    edits.replace(clause[0].start, clause[-1].end, " AND ".join(guarded))


def _join_conditions(edits: Edits, tokens: Sequence[Token], where: int, ai_names: Collection[str]) -> list[str]:
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
    cheap = [clause for clause in clauses if clause and not has_name(clause, ai_names)]
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


def _conjuncts(clause: Sequence[Token]) -> list[Sequence[Token]]:
    """The parts of a condition between its outermost ANDs; one part if it is no conjunction."""
    parts: list[list[Token]] = [[]]
    cases = betweens = 0
    for token in clause:
        outermost = token.depth == clause[0].depth
        if outermost:
            cases += (token.keyword == "CASE") - (token.keyword == "END")
        if outermost and cases == 0:
            if token.keyword == "OR":
                return [clause]
            if token.keyword == "BETWEEN":
                betweens += 1
            elif token.keyword == "AND" and betweens:
                betweens -= 1
            elif token.keyword == "AND":
                parts.append([])
                continue
        parts[-1].append(token)
    return [*parts] if all(parts) else [clause]
