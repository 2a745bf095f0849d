"""A pass over SQL text: put cheap conditions before AI conditions, whichever side of AND they stand on.

DuckDB may run a boolean function before a cheap computed condition. In each conjunction of WHERE, ON, HAVING and
QUALIFY that has both kinds, `ai AND cheap` becomes `cheap AND CASE WHEN cheap THEN ai END`: the same rows pass,
and only rows that pass the cheap part are asked. Of several AI conditions the next is asked where the one before holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sqlinfer.sql.tokens import Token, tokenize

_OPENS = {"WHERE", "ON", "HAVING", "QUALIFY"}
_ENDS = {
    *_OPENS, "SELECT", "FROM", "GROUP", "WINDOW", "ORDER", "LIMIT", "OFFSET", "UNION", "INTERSECT", "EXCEPT", "FETCH",
    "RETURNING", "WHEN", "THEN", "DO", "JOIN", "LEFT", "RIGHT", "INNER", "FULL", "CROSS", "ASOF", "SEMI", "ANTI",
    "NATURAL", "POSITIONAL", "SAMPLE", "SET", "VALUES", "CONFLICT",
}  # fmt: skip
_VOLATILE = {"random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "nextval", "setseed", "clock_timestamp"}


def guard(sql: str, ai_names: Collection[str]) -> str:
    """Guard the AI conditions of a statement; ai_names: the lower-case names that lead to an AI function.

    >>> guard("FROM t WHERE f(x) AND n % 2 = 0", ["f"])
    'FROM t WHERE n % 2 = 0 AND CASE WHEN n % 2 = 0 THEN f(x) END'
    >>> guard("FROM t WHERE f(x) AND f(y)", ["f"])
    'FROM t WHERE CASE WHEN f(x) THEN f(y) END'
    >>> guard("FROM t WHERE f(x) OR n = 0", ["f"])
    'FROM t WHERE f(x) OR n = 0'
    """
    tokens = tokenize(sql)
    for index in reversed(range(len(tokens))):
        if tokens[index].keyword in _OPENS:
            sql = _guard_clause(sql, index + 1, ai_names)
    return sql


def _guard_clause(sql: str, first: int, ai_names: Collection[str]) -> str:
    tokens = tokenize(sql)
    clause = _clause(tokens, first)
    conjuncts = _conjuncts(clause)
    if not clause:
        return sql

    def is_ai(part: list[Token]) -> bool:
        return any(token.word in ai_names for token in part)

    def text(parts: list[list[Token]], keep: Callable[[list[Token]], bool]) -> list[str]:
        return [sql[part[0].start : part[-1].end] for part in parts if keep(part)]

    ai = text(conjuncts, is_ai)
    cheap = text(conjuncts, lambda part: not is_ai(part) and not _is_volatile(part))
    volatile = text(conjuncts, lambda part: not is_ai(part) and _is_volatile(part))
    joined = _joined(sql, tokens, first - 1, ai_names)
    if not ai or len(ai + cheap + joined) < 2:
        return sql
    condition = [" AND ".join(cheap)] if cheap else []
    guarded = [*condition, chained([*joined, *condition, *ai]), *volatile]
    return sql[: clause[0].start] + " AND ".join(guarded) + sql[clause[-1].end :]


def _joined(sql: str, tokens: list[Token], where: int, ai_names: Collection[str]) -> list[str]:
    """The conditions of the inner joins before a WHERE: they hold there, and name both sides, so that DuckDB does
    not ask an AI condition below the join, of rows that find no partner."""
    if tokens[where].keyword != "WHERE":
        return []
    depth = tokens[where].depth
    before = [i for i in range(where) if tokens[i].depth == depth]
    start = next((i for i in reversed(before) if tokens[i].keyword == "FROM" and not _is_part(tokens, i)), None)
    if start is None or any(t.depth < depth for t in tokens[start:where]):
        return []
    words = [tokens[i].keyword for i in before if i > start]
    if {"RIGHT", "FULL", "SEMI", "ANTI", "ASOF", "POSITIONAL"} & set(words):
        return []
    conditions, outer = [], False
    for index in (i for i in before if i > start):
        if tokens[index].keyword == "JOIN":
            outer = tokens[index - 1].keyword in ("LEFT", "OUTER")
        elif tokens[index].keyword == "ON" and not outer:
            clause = _clause(tokens, index + 1)
            if clause and not _is_volatile(clause) and not any(token.word in ai_names for token in clause):
                conditions.append(sql[clause[0].start : clause[-1].end])
    return [" AND ".join(f"({condition})" for condition in conditions)] if conditions else []


def chained(conditions: Sequence[str]) -> str:
    """A conjunction in which each condition is computed only where all before it are true.

    >>> chained(["a", "b", "c"])
    'CASE WHEN a THEN CASE WHEN b THEN c END END'
    """
    *first, last = conditions
    return "".join(f"CASE WHEN {condition} THEN " for condition in first) + last + " END" * len(first)


def _clause(tokens: list[Token], first: int) -> list[Token]:
    """The tokens of the condition that begins at index first."""
    if first >= len(tokens):
        return []
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


def _is_part(tokens: list[Token], index: int) -> bool:
    """Whether a word that usually ends a condition is part of one here: a call (`left(x, 2)`), a column (`t.set`)
    or `IS [NOT] DISTINCT FROM`."""
    called = index + 1 < len(tokens) and tokens[index + 1].text == "(" and tokens[index].keyword in ("LEFT", "RIGHT")
    member = index > 0 and tokens[index - 1].text == "."
    distinct = index > 0 and tokens[index].keyword == "FROM" and tokens[index - 1].keyword == "DISTINCT"
    return called or member or distinct


def _conjuncts(clause: list[Token]) -> list[list[Token]]:
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
    return parts if all(parts) else [clause]


def _is_volatile(part: list[Token]) -> bool:
    return any(token.word in _VOLATILE for token in part)
