"""The names of a query's columns: DuckDB names one without an alias by its text, so one that is rewritten is given the
name that it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import duckdb

from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.parsed_calls import constants_connection
from sqlinfer.sql.parsing.references import alias, end_of_select_list
from sqlinfer.sql.parsing.tokens import Token, closing, split_at_commas, text_of, tokenize
from sqlinfer.sql_text import quote_identifier


def keep_column_names(sql: str, rewritten: str) -> str:
    """A rewritten statement in which the columns of the outermost SELECT have the names that they had.

    >>> keep_column_names("SELECT f(x), f(y) AS a, b FROM t", "SELECT g(x), g(y) AS a, b FROM t WHERE c")
    'SELECT g(x) AS "f(x)", g(y) AS a, b FROM t WHERE c'
    """
    if rewritten == sql or rewritten.startswith(sql[: _end_of_columns(sql)]):
        return rewritten
    before, after, edits = _columns(sql), _columns(rewritten), Edits(rewritten)
    for old, new in zip(before, after, strict=False) if len(before) == len(after) else ():
        old_text = text_of(sql, old)
        if _has_name(old) or _has_name(new) or old_text == text_of(rewritten, new):
            continue
        name = column_name(old_text)
        if name:
            edits.insert(new[-1].end, f" AS {quote_identifier(name)}")
    return edits.apply()


@lru_cache(maxsize=256)
def column_name(expression: str) -> str:
    """The name that DuckDB gives to a column of an expression; "" if it does not parse.

    >>> column_name("count(*) > $1")
    '(count_star() > $1)'
    """
    try:
        with constants_connection().cursor() as cursor:
            query = "SELECT json_deserialize_sql(json_serialize_sql($1))"
            row = cursor.execute(query, [f"SELECT {expression}"]).fetchone()
    except duckdb.Error:
        return ""
    return "" if row is None else str(row[0]).removeprefix("SELECT ")


def _columns(sql: str) -> list[list[Token]]:
    """The columns of the outermost SELECT, the first of several."""
    tokens = tokenize(sql)
    select = _outermost_select(tokens)
    if select is None:
        return []
    first, depth = select + 1, tokens[select].depth
    if first < len(tokens) and tokens[first].keyword in ("DISTINCT", "ALL"):
        first += 1
        if first + 1 < len(tokens) and tokens[first].keyword == "ON" and tokens[first + 1].text == "(":
            first = closing(tokens, first + 1) + 1
    return [item for item in split_at_commas(tokens[first : end_of_select_list(tokens, select)], depth) if item]


def _end_of_columns(sql: str) -> int:
    """Where the columns of the outermost SELECT end, in characters."""
    tokens = tokenize(sql)
    select = _outermost_select(tokens)
    return 0 if select is None else tokens[end_of_select_list(tokens, select) - 1].end


def _outermost_select(tokens: Sequence[Token]) -> int | None:
    selects = (index for index, token in enumerate(tokens) if token.keyword == "SELECT")
    return min(selects, key=lambda index: tokens[index].depth, default=None)


def _has_name(column: Sequence[Token]) -> bool:
    """Whether a column has an alias."""
    is_named = any(token.keyword == "AS" and token.depth == column[0].depth for token in column)
    return is_named or (len(column) > 1 and (column[1].text == ":" or bool(alias(column))))
