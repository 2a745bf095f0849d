"""A pass over SQL text: where AI calls are the keys of ORDER BY .. LIMIT, the other AI calls are computed for the rows
that the LIMIT takes.

DuckDB computes keys and columns of a query together, for all rows. A subquery that takes the rows comes before the
columns: `SELECT f(x) FROM t ORDER BY g(x) LIMIT 3` becomes `SELECT f(x) FROM (SELECT * FROM t ORDER BY g(x) LIMIT 3)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlinfer.sql.parsing.parsed_calls import aggregate_names
from sqlinfer.sql.parsing.references import alias, end_of_select_list
from sqlinfer.sql.parsing.tokens import Token, first_keyword, has_any, split_at_commas, text_of, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext

_OTHER_CLAUSES = {
    *("GROUP", "HAVING", "QUALIFY", "WINDOW", "UNION", "INTERSECT", "EXCEPT", "DISTINCT", "JOIN", "OVER", "PIVOT"),
    *("TABLESAMPLE", "SAMPLE", "FETCH", "RETURNING", "CONFLICT"),
}
_DIRECTIONS = {"ASC", "DESC", "NULLS", "FIRST", "LAST"}


@dataclass(frozen=True, slots=True)
class _Parts:
    """SELECT columns FROM source [WHERE ..] ORDER BY keys LIMIT ..

    start, end: of the whole, in characters.
    columns: their text.
    source: the tokens behind FROM.
    rows: the text from FROM to before ORDER BY.
    written_keys, keys: as they are written, and without the names of columns.
    limit: the text from LIMIT on.
    """

    start: int
    end: int
    columns: str
    source: Sequence[Token]
    rows: str
    written_keys: str
    keys: str
    limit: str


def limit_before_select(sql: str, context: RewriteContext) -> str:
    """Take the rows of a LIMIT before the columns of the outermost SELECT are computed.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions(), ai_names=frozenset({"f", "g"}))
    >>> limit_before_select("SELECT f(x) FROM t ORDER BY g(x) DESC LIMIT 3", context)
    'SELECT f(x) FROM (SELECT * FROM t ORDER BY g(x) DESC LIMIT 3) AS t ORDER BY g(x) DESC'
    """
    parts = _parts(sql, context)
    if parts is None:
        return sql
    name = next((t.text for t in reversed(parts.source) if t.word and t.depth == parts.source[0].depth), "")
    rows = f"(SELECT * {parts.rows} ORDER BY {parts.keys} {parts.limit})" + f" AS {name}" * bool(name)
    query = f"SELECT {parts.columns} FROM {rows} ORDER BY {parts.written_keys}"
    return sql[: parts.start] + query + sql[parts.end :]


def sort_key_queries(sql: str, context: RewriteContext) -> tuple[str, ...]:
    """What a probe runs before such a query: its keys alone; none for any other.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions(), ai_names=frozenset({"f", "g"}))
    >>> sort_key_queries("SELECT f(x) FROM t ORDER BY g(x) DESC, y LIMIT 3", context)
    ('SELECT g(x), y FROM t',)
    """
    parts = _parts(sql, context)
    if parts is None:
        return ()
    keys = [text_of(parts.keys, _expression(key)) for key in split_at_commas(tokenize(parts.keys), 0)]
    return (f"{sql[: parts.start]}SELECT {', '.join(keys)} {parts.rows}",)


def _parts(sql: str, context: RewriteContext) -> _Parts | None:
    """The parts of a query with AI calls among its keys and among its other columns; None for any other."""
    if "limit" not in sql.lower():
        return None
    tokens, ai_offsets = tokenize(sql), context.ai_references(sql)
    clauses = _clauses(tokens) if len(ai_offsets) > 1 else None
    if clauses is None:
        return None
    select, from_, where, order, limit, end = clauses
    source = tokens[from_ + 1 : where]
    columns, keys = (split_at_commas(part, 0) for part in (tokens[select + 1 : from_], tokens[order + 2 : limit]))
    has_ai_key = any(has_any(key, ai_offsets) for key in keys)
    if not has_ai_key or any(t.text == "," and t.depth == 0 for t in source) or _change_rows(tokens[select:from_]):
        return None
    names = {_expression(key)[0].word or _expression(key)[0].text for key in keys if len(_expression(key)) == 1}
    others = (part for part in columns if len(part) < 2 or alias(part) not in names)
    if any(name.isdecimal() for name in names) or not any(has_any(part, ai_offsets) for part in others):
        return None
    by_name = {alias(part): part for part in columns if len(part) > 1}
    return _Parts(
        tokens[select].start,
        tokens[end - 1].end,
        text_of(sql, tokens[select + 1 : from_]),
        source,
        sql[tokens[from_].start : tokens[order - 1].end],
        text_of(sql, tokens[order + 2 : limit]),
        ", ".join(_key(sql, key, by_name) for key in keys),
        text_of(sql, tokens[limit:end]),
    )


def _clauses(tokens: Sequence[Token]) -> tuple[int, int, int, int, int, int] | None:
    """The indexes of SELECT, FROM, WHERE (or ORDER), ORDER, LIMIT and the end of a query that has no other clauses."""
    marks = [first_keyword(tokens, word) for word in ("SELECT", "FROM", "ORDER", "LIMIT")]
    positions = [mark for mark in marks if mark is not None]
    if len(positions) < len(marks) or positions != sorted(positions):
        return None
    select, from_, order, limit = positions
    where = first_keyword(tokens, "WHERE", start=from_) or order
    outermost = {token.keyword for token in tokens[select:] if token.depth == 0}
    if outermost & _OTHER_CLAUSES or where > order or end_of_select_list(tokens, select) != from_:
        return None
    end = next((i for i in range(limit, len(tokens)) if tokens[i].text == ";"), len(tokens))
    return select, from_, where, order, limit, end


def _expression(key: Sequence[Token]) -> Sequence[Token]:
    """A key without its direction."""
    end = len(key)
    while end > 1 and key[end - 1].keyword in _DIRECTIONS:
        end -= 1
    return key[:end]


def _key(sql: str, key: Sequence[Token], named: dict[str, list[Token]]) -> str:
    """A key as a subquery without the columns computes it: the expression of the column that it names."""
    expression = _expression(key)
    column = named.get(expression[0].word) if len(expression) == 1 and expression[0].word else None
    if column is None:
        return text_of(sql, key)
    value = column[:-2] if column[-2].keyword == "AS" else column[:-1]
    return f"{text_of(sql, value)}{sql[expression[-1].end : key[-1].end]}"


def _change_rows(columns: Sequence[Token]) -> bool:
    """Whether columns make several rows of one, or one of several."""
    names = aggregate_names() | {"unnest"}
    return any(name.word in names and opening.text == "(" for name, opening in pairwise(columns))
