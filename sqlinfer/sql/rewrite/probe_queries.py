"""A pass over SQL text: the SELECT statements that ask what a statement will ask, and change nothing.

A probe drains them. They may ask too much or too little; the statement itself runs last and is exact.
What has no SELECT part gives none, and runs directly.
"""

from __future__ import annotations

from itertools import pairwise

from sqlinfer.sql.rewrite.dml_to_select import dml_to_select
from sqlinfer.sql.rewrite.tokens import Token, closing, tokenize

QUERY_VERBS = {"SELECT", "FROM", "VALUES", "TABLE", "PIVOT", "UNPIVOT"}
_CHANGES = {"INSERT", "UPDATE", "DELETE", "MERGE"}


def probe_queries(sql: str) -> list[str]:
    """The SELECT statements that stand for a statement in a probe.

    >>> probe_queries("CREATE TABLE t AS SELECT f(x) FROM r")
    ['SELECT f(x) FROM r']
    >>> probe_queries("INSERT INTO t (a) SELECT f(x) FROM r ON CONFLICT DO NOTHING")
    ['SELECT f(x) FROM r']
    >>> probe_queries("UPDATE t SET a = f(b) WHERE g(c)")
    ['SELECT f(b) FROM t WHERE g(c)']
    """
    tokens = tokenize(sql)
    if not tokens or _changes_inside(tokens):
        return []
    verb = next(
        (i for i, t in enumerate(tokens) if t.depth == 0 and t.keyword in {*QUERY_VERBS, *_CHANGES, "CREATE"}), 0
    )
    prefix = sql[: tokens[verb].start] if tokens[0].keyword == "WITH" else ""
    first = tokens[verb].keyword
    if tokens[0].keyword not in ("WITH", "CREATE", "COPY", "(", *QUERY_VERBS, *_CHANGES) and tokens[0].text != "(":
        return []
    if tokens[0].keyword == "COPY":
        return _copied(sql, tokens)
    if first == "CREATE":
        return _created(sql, tokens)
    if first == "INSERT":
        return [_nextval_out(prefix + part) for part in _inserted(sql, tokens, verb)]
    if first in _CHANGES:
        return [_nextval_out(query) for query in dml_to_select(sql)]
    return [_nextval_out(sql)]


def created_table(sql: str) -> str | None:
    """The table that CREATE TABLE .. AS makes and may not be there yet, as written; None for other statements."""
    tokens = tokenize(sql)
    head = [token.keyword for token in tokens[:5]]
    if head[:1] != ["CREATE"] or "TABLE" not in head or "REPLACE" in head:
        return None
    name = tokens[head.index("TABLE") + 1 :]
    if not name or name[0].keyword == "IF":
        return None
    end = 0
    while end + 2 < len(name) and name[end + 1].text == ".":
        end += 2
    return sql[name[0].start : name[end].end]


def _copied(sql: str, tokens: list[Token]) -> list[str]:
    if len(tokens) < 2 or tokens[1].text != "(":
        return []
    end = closing(tokens, 1)
    return [_nextval_out(sql[tokens[1].end : tokens[end].start])] if end < len(tokens) else []


def _created(sql: str, tokens: list[Token]) -> list[str]:
    head = [token.keyword for token in tokens[:5]]
    if "TABLE" not in head:
        return []
    start = next((i for i, t in enumerate(tokens) if t.depth == 0 and t.keyword == "AS"), None)
    if start is None:
        return []
    tail = [token.keyword for token in tokens[-3:]]
    end = tokens[-1].end
    if tail[-2:] == ["NO", "DATA"]:
        return []
    if tail[-2:] == ["WITH", "DATA"]:
        end = tokens[-3].end
    return [_nextval_out(sql[tokens[start].end : end].strip())]


def _inserted(sql: str, tokens: list[Token], verb: int) -> list[str]:
    into = next((i for i in range(verb, len(tokens)) if tokens[i].keyword == "INTO"), verb)
    for index in range(into + 1, len(tokens)):
        token = tokens[index]
        if token.depth != tokens[verb].depth:
            continue
        opens_query = (
            token.text == "(" and index + 1 < len(tokens) and tokens[index + 1].keyword in {*QUERY_VERBS, "WITH"}
        )
        if token.keyword == "DEFAULT":
            return []
        if token.keyword in {*QUERY_VERBS, "WITH"} or opens_query:
            return [sql[token.start : _insert_end(tokens, index)].strip()]
    return []


def _insert_end(tokens: list[Token], start: int) -> int:
    """Where the query of an INSERT ends: before ON CONFLICT or RETURNING."""
    for index in range(start, len(tokens)):
        if tokens[index].depth != tokens[start].depth:
            continue
        conflict = tokens[index].keyword == "ON" and tokens[index + 1 : index + 2]
        if tokens[index].keyword == "RETURNING" or (conflict and conflict[0].keyword == "CONFLICT"):
            return tokens[index].start
    return tokens[-1].end


def _changes_inside(tokens: list[Token]) -> bool:
    """Whether a common table expression changes data: such a statement may not run twice."""
    return any(
        before.text == "(" and token.keyword in _CHANGES and token.depth > 0 for before, token in pairwise(tokens)
    )


def _nextval_out(sql: str) -> str:
    """The same query without drawing from sequences: a probe would leave gaps."""
    tokens = tokenize(sql)
    for index in reversed(range(len(tokens) - 1)):
        if tokens[index].word == "nextval" and tokens[index + 1].text == "(":
            end = closing(tokens, index + 1)
            if end < len(tokens):
                sql = sql[: tokens[index].start] + "(0)" + sql[tokens[end].end :]
    return sql
