"""The SELECT statements that record the requests of a statement, and change nothing.

A probe drains them. They may record too much or too little; the statement itself runs last and is exact.
What has no SELECT part gives none, and runs directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sqlinfer.sql.parsing.dml_to_select import dml_to_select
from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.parsed_calls import call_spans
from sqlinfer.sql.parsing.tokens import Token, closing, first_keyword, keywords, split_at_commas, text_of, tokenize

QUERY_VERBS = {"SELECT", "FROM", "VALUES", "TABLE", "PIVOT", "UNPIVOT"}
_CHANGES = {"INSERT", "UPDATE", "DELETE", "MERGE"}


def probe_queries(sql: str, prepared: str = "") -> tuple[str, ...]:
    """The SELECT statements that stand for a statement in a probe. prepared: the text of what EXECUTE executes.

    >>> probe_queries("CREATE TABLE t AS SELECT f(x) FROM r")
    ('SELECT f(x) FROM r',)
    >>> probe_queries("INSERT INTO t (a) SELECT f(x) FROM r ON CONFLICT DO NOTHING")
    ('SELECT f(x) FROM r',)
    >>> probe_queries("UPDATE t SET a = f(b) WHERE g(c)")
    ('SELECT f(b) FROM t WHERE g(c)',)
    >>> probe_queries("EXECUTE p('x', 3)", "SELECT f($1) FROM t WHERE i = $2")
    ("SELECT f(('x')) FROM t WHERE i = (3)",)
    """
    if prepared:
        return probe_queries(_executed(sql, prepared))
    tokens = tokenize(sql)
    if not tokens or _changes_inside(tokens):
        return ()
    opening = tokens[0].keyword
    if opening not in ("WITH", "CREATE", "COPY", *QUERY_VERBS, *_CHANGES) and tokens[0].text != "(":
        return ()
    verb = first_keyword(tokens, *QUERY_VERBS, *_CHANGES, "CREATE") or 0
    action = tokens[verb].keyword
    prefix = sql[: tokens[verb].start] if opening == "WITH" else ""
    if opening == "COPY":
        queries = _copied(sql, tokens)
    elif action == "CREATE":
        queries = _created(sql, tokens)
    elif action == "INSERT":
        queries = [prefix + query for query in _inserted(sql, tokens, verb)]
    elif action in _CHANGES:
        queries = dml_to_select(sql)
    else:
        queries = [sql]
    return tuple(_without_nextval(query) for query in queries)


def _executed(sql: str, prepared: str) -> str:
    """The text of a prepared statement with the arguments of EXECUTE name(..) in the places of its parameters."""
    tokens, edits = tokenize(sql), Edits(prepared)
    parts = split_at_commas(tokens[3 : closing(tokens, 2)], tokens[2].depth + 1) if len(tokens) > 3 else []
    arguments: dict[str, str] = {}
    for position, part in enumerate(parts, 1):
        is_named = len(part) > 2 and part[1].text in (":=", "=>")
        arguments[part[0].word if is_named else str(position)] = text_of(sql, part[2:] if is_named else part)
    for token in tokenize(prepared):
        name = token.text[1:].lower()
        if token.text.startswith("$") and name in arguments:
            edits.replace(token.start, token.end, f"({arguments[name]})")
    return edits.apply()


def _copied(sql: str, tokens: Sequence[Token]) -> list[str]:
    """The query of COPY (query) TO, or of the relation of COPY name TO and COPY name (columns) TO."""
    to = first_keyword(tokens, "TO")
    if to is None or to < 2 or tokens[1].keyword == "FROM":
        return []
    if tokens[1].text == "(":
        return [sql[tokens[1].end : tokens[to - 1].start]]
    opening = next((i for i in range(2, to) if tokens[i].text == "("), to)
    selected = sql[tokens[opening].end : tokens[to - 1].start] if opening < to else "*"
    return [f"SELECT {selected} FROM {text_of(sql, tokens[1:opening])}"]


def _created(sql: str, tokens: Sequence[Token]) -> list[str]:
    start = first_keyword(tokens, "AS")
    if "TABLE" not in keywords(tokens[:5]) or start is None:
        return []
    tail = keywords(tokens[-3:])
    if tail[-2:] == ["NO", "DATA"]:
        return []
    end = tokens[-3].end if tail[-2:] == ["WITH", "DATA"] else tokens[-1].end
    return [sql[tokens[start].end : end].strip()]


def _inserted(sql: str, tokens: Sequence[Token], verb: int) -> list[str]:
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


def _insert_end(tokens: Sequence[Token], start: int) -> int:
    """Where the query of an INSERT ends: before ON CONFLICT or RETURNING."""
    for index in range(start, len(tokens)):
        if tokens[index].depth != tokens[start].depth:
            continue
        conflict = tokens[index].keyword == "ON" and tokens[index + 1 : index + 2]
        if tokens[index].keyword == "RETURNING" or (conflict and conflict[0].keyword == "CONFLICT"):
            return tokens[index].start
    return tokens[-1].end


def _changes_inside(tokens: Sequence[Token]) -> bool:
    """Whether a common table expression changes data: such a statement may not run twice."""
    return any(
        before.text == "(" and token.keyword in _CHANGES and token.depth > 0 for before, token in pairwise(tokens)
    )


def _without_nextval(sql: str) -> str:
    """The same query without drawing from sequences: a probe would leave gaps."""
    if "nextval" not in sql.lower():
        return sql
    tokens, edits = tokenize(sql), Edits(sql)
    for index, end in reversed([*call_spans(tokens, {"nextval"})]):
        edits.replace(tokens[index].start, tokens[end].end, "(0)")
    return edits.apply()
