"""A pass over SQL text: MERGE computes the values of each WHEN for the rows of all; ask only for the rows it takes.

A value with an AI call becomes `CASE WHEN <the row is taken by this WHEN> THEN value END`; what is written is the
same. A MERGE with USING (columns) or an AI condition in ON stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

from sqlinfer.sql.rewrite.order_predicates import chained
from sqlinfer.sql.rewrite.tokens import Token, has_name, text_of, tokenize


def guard_merge_values(sql: str, ai_names: Collection[str]) -> str:
    """Guard the values of a MERGE; ai_names: the lower-case names that lead to an AI function.

    >>> guard_merge_values("MERGE INTO t USING s ON t.i = s.i WHEN MATCHED AND s.n > 1 THEN UPDATE SET x = f(s.x)", ["f"])
    'MERGE INTO t USING s ON t.i = s.i WHEN MATCHED AND s.n > 1 THEN UPDATE SET x = CASE WHEN (t.i = s.i) THEN CASE WHEN (s.n > 1) THEN f(s.x) END END'
    """  # noqa: E501
    tokens = tokenize(sql)
    marks = {
        word: next((i for i, t in enumerate(tokens) if t.depth == 0 and t.keyword == word), -1)
        for word in ("MERGE", "INTO", "USING", "ON", "WHEN")
    }
    if not 0 <= marks["MERGE"] < marks["INTO"] < marks["USING"] < marks["ON"] < marks["WHEN"]:
        return sql
    on = text_of(sql, tokens[marks["ON"] + 1 : marks["WHEN"]])
    if has_name(tokens[marks["ON"] : marks["WHEN"]], ai_names):
        return sql
    sides = {
        "matched": f"({on})",
        "source": f"NOT EXISTS (SELECT 1 FROM {text_of(sql, tokens[marks['INTO'] + 1 : marks['USING']])} WHERE {on})",
        "target": f"NOT EXISTS (SELECT 1 FROM {text_of(sql, tokens[marks['USING'] + 1 : marks['ON']])} WHERE {on})",
    }
    return _spliced(sql, _edits(sql, tokens[marks["WHEN"] :], sides, ai_names))


Edit = tuple[Token, Token, list[str]]


def _edits(sql: str, tokens: list[Token], sides: dict[str, str], ai_names: Collection[str]) -> list[Edit]:
    """For each value with an AI call its first and last token and when it is needed."""
    edits: list[Edit] = []
    taken: dict[str, list[str]] = {side: [] for side in sides}
    starts = [i for i, t in enumerate(tokens) if t.depth == 0 and t.keyword == "WHEN"]
    end = next((i for i, t in enumerate(tokens) if t.depth == 0 and t.keyword == "RETURNING"), len(tokens))
    for first, last in pairwise([*starts, end]):
        clause = tokens[first:last]
        then = next((i for i, t in enumerate(clause) if t.depth == 0 and t.keyword == "THEN"), len(clause))
        words = [token.keyword for token in clause[:5]]
        side = "matched" if words[1] == "MATCHED" else "target" if "SOURCE" in words else "source"
        given = next((i for i, t in enumerate(clause[:then]) if t.depth == 0 and t.keyword == "AND"), then)
        own = [f"({text_of(sql, clause[given + 1 : then])})"] if given < then else []
        needed = [sides[side], *(f"NOT coalesce({other}, false)" for other in taken[side]), *own]
        for value in _values(clause[then + 1 :]):
            if value and has_name(value, ai_names):
                edits.append((value[0], value[-1], needed))
        taken[side] += own
    return edits


def _values(action: list[Token]) -> list[list[Token]]:
    """The value expressions of `UPDATE SET a = value, ...` or `INSERT (a, ...) VALUES (value, ...)`."""
    words = [token.keyword for token in action]
    if "SET" in words:
        parts = _by_commas(action[words.index("SET") + 1 :], depth=0)
        equals = [next((i for i, t in enumerate(part) if t.text == "="), len(part)) for part in parts]
        # SET (a, b) = (x, y) stays as it is: a CASE cannot give two values
        return [part[equal + 1 :] for part, equal in zip(parts, equals, strict=True) if part[:1] and part[0].word]
    if "VALUES" in words:
        return _by_commas(action[words.index("VALUES") + 2 : -1], depth=1)
    return []


def _by_commas(tokens: list[Token], depth: int) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == "," and token.depth == depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _spliced(sql: str, edits: list[Edit]) -> str:
    for first, last, needed in reversed(edits):
        value = chained([*needed, sql[first.start : last.end]])
        sql = sql[: first.start] + value + sql[last.end :]
    return sql
