"""A pass over SQL text: MERGE computes the values of each WHEN for the rows of all; guard those with AI calls.

A value with an AI call becomes `CASE WHEN <the row is taken by this WHEN> THEN value END`; what is written is the
same. A MERGE with USING (columns) or an AI condition in ON stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.tokens import Token, first_keyword, has_any, keywords, split_at_commas, text_of, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext
from sqlinfer.sql.rewrite.order_predicates import nested_conditions


def guard_merge_values(sql: str, context: RewriteContext) -> str:
    """Guard the values of a MERGE.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions(), ai_names=frozenset({"f"}))
    >>> merge = "MERGE INTO t USING s ON t.i = s.i WHEN MATCHED AND s.n > 1 THEN UPDATE SET x = f(s.x)"
    >>> guard_merge_values(merge, context).partition(" UPDATE ")[2]
    'SET x = CASE WHEN (t.i = s.i) THEN CASE WHEN (s.n > 1) THEN f(s.x) END END'
    """
    if "merge" not in sql.lower():
        return sql
    tokens, ai_offsets = tokenize(sql), context.ai_references(sql)
    marks = [first_keyword(tokens, word) for word in ("MERGE", "INTO", "USING", "ON", "WHEN")]
    positions = [mark for mark in marks if mark is not None]
    if len(positions) < len(marks) or positions != sorted(positions):
        return sql
    _, into, using, on, when = positions
    if has_any(tokens[on:when], ai_offsets):
        return sql
    condition, target = text_of(sql, tokens[on + 1 : when]), text_of(sql, tokens[into + 1 : using])
    source = text_of(sql, tokens[using + 1 : on])
    sides = {
        "matched": f"({condition})",
        "source": f"NOT EXISTS (SELECT 1 FROM {target} WHERE {condition})",
        "target": f"NOT EXISTS (SELECT 1 FROM {source} WHERE {condition})",
    }
    edits = Edits(sql)
    for value, needed in _guards(sql, tokens[when:], sides):
        if value and has_any(value, ai_offsets):
            start, end = value[0].start, value[-1].end
            edits.replace(start, end, nested_conditions([*needed, sql[start:end]]))
    return edits.apply()


def _guards(sql: str, tokens: Sequence[Token], sides: Mapping[str, str]) -> list[tuple[list[Token], list[str]]]:
    """The values of all WHEN clauses, each with the conditions on which it is needed."""
    guards: list[tuple[list[Token], list[str]]] = []
    taken: dict[str, list[str]] = {side: [] for side in sides}
    starts = [i for i, t in enumerate(tokens) if t.depth == 0 and t.keyword == "WHEN"]
    end = first_keyword(tokens, "RETURNING")
    for first, last in pairwise([*starts, len(tokens) if end is None else end]):
        clause = tokens[first:last]
        then = first_keyword(clause, "THEN")
        then = len(clause) if then is None else then
        head = keywords(clause[:5])
        side = "matched" if head[1] == "MATCHED" else "target" if "SOURCE" in head else "source"
        condition = first_keyword(clause[:then], "AND")
        own = [] if condition is None else [f"({text_of(sql, clause[condition + 1 : then])})"]
        needed = [sides[side], *(f"NOT coalesce({other}, false)" for other in taken[side]), *own]
        guards += [(value, needed) for value in _values(clause[then + 1 :])]
        taken[side] += own
    return guards


def _values(action: Sequence[Token]) -> list[list[Token]]:
    """The value expressions of `UPDATE SET a = value, ...` or `INSERT (a, ...) VALUES (value, ...)`."""
    words = keywords(action)
    if "SET" in words:
        parts = split_at_commas(action[words.index("SET") + 1 :], depth=0)
        equals = [next((i for i, t in enumerate(part) if t.text == "="), len(part)) for part in parts]
        # SET (a, b) = (x, y) stays as it is: a CASE cannot give two values
        return [part[equal + 1 :] for part, equal in zip(parts, equals, strict=True) if part[:1] and part[0].word]
    if "VALUES" in words:
        return split_at_commas(action[words.index("VALUES") + 2 : -1], depth=1)
    return []
