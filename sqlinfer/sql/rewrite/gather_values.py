"""A pass over SQL text: the AI calls of the rows of INSERT .. VALUES become one call over those rows.

DuckDB binds and evaluates each row of VALUES by itself. Calls that differ in their text alone are one call of a column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlinfer.sql.internal_names import PREFIX
from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.tokens import Token, closing, first_keyword, split_at_commas, text_of, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext

_STRING = re.compile(r"'(?:[^']|'')*'")
_INTEGER = re.compile(r"-?\d{1,18}")
_Cell = Sequence[Token]


def gather_values(sql: str, context: RewriteContext) -> str:
    """The statement with a SELECT in place of VALUES, if that inserts the same rows: a cell is a call of an AI function
    or a literal of the kind of those below it, so that its value under the type of the column does not depend on them.

    >>> from sqlinfer.functions import load_functions
    >>> gather_values("INSERT INTO t VALUES (ai_gen('a')), (ai_gen('b'))", RewriteContext(load_functions()))
    "INSERT INTO t SELECT ai_gen(__sqlinfer_c0) FROM (VALUES ('a'), ('b')) v(__sqlinfer_c0)"
    """
    tokens = tokenize(sql)
    start = first_keyword(tokens, "VALUES")
    if start is None or tokens[0].keyword != "INSERT":
        return sql
    end = first_keyword(tokens, "RETURNING", start=start) or len(tokens) - (tokens[-1].text == ";")
    rows = [_cells(row) for row in split_at_commas(tokens[start + 1 : end], 0)]
    if len(rows) < 2 or any(len(row) != len(rows[0]) or not all(row) for row in rows):
        return sql
    gathered = _Gathered(sql, context)
    if not all(gathered.takes(column) for column in zip(*rows, strict=True)) or not gathered.columns:
        return sql
    edits = Edits(sql)
    edits.replace(tokens[start].start, tokens[end - 1].end, gathered.select())
    return edits.apply()


def _cells(row: Sequence[Token]) -> list[list[Token]]:
    """The cells of a row in parentheses; none if it is something else."""
    if not row or row[0].text != "(" or row[-1].text != ")" or sum(token.depth == 0 for token in row) != 2:
        return []
    return split_at_commas(row[1:-1], 1)


class _Gathered:
    """The columns of VALUES, as far as they are gathered: what differs from row to row, and the expressions over it."""

    def __init__(self, sql: str, context: RewriteContext) -> None:
        self.columns: list[list[str]] = []
        self._sql = sql
        self._functions = context.functions
        self._expressions: list[str] = []

    def takes(self, column: Sequence[_Cell]) -> bool:
        """Gather the cells of one column; whether that is possible."""
        texts = [text_of(self._sql, cell) for cell in column]
        if self._is_call(column[0]):
            return self._takes_calls(column)
        if not (_are_alike(texts, _STRING) or _are_alike(texts, _INTEGER)):
            return False
        self._expressions.append(self._add(texts))
        return True

    def select(self) -> str:
        """The SELECT that gives the rows."""
        rows = ", ".join(f"({', '.join(row)})" for row in zip(*self.columns, strict=True))
        names = ", ".join(_name(index) for index in range(len(self.columns)))
        return f"SELECT {', '.join(self._expressions)} FROM (VALUES {rows}) v({names})"

    def _takes_calls(self, column: Sequence[_Cell]) -> bool:
        """Gather calls that differ in the strings that are their first arguments."""
        first, edits = column[0], Edits(self._sql)
        if any(len(cell) != len(first) for cell in column):
            return False
        for index, same in enumerate(zip(*column, strict=True)):
            if len({token.text for token in same}) > 1:
                if not self._is_text(first, index) or not all(_STRING.match(token.text) for token in same):
                    return False
                edits.replace(first[index].start, first[index].end, self._add([token.text for token in same]))
        self._expressions.append(edits.render(first[0].start, first[-1].end))
        return True

    def _is_call(self, cell: _Cell) -> bool:
        """Whether a cell is a call of an AI function, in which no other function is called: it may be an aggregate."""
        called = [cell[i - 1].word for i in range(1, len(cell)) if cell[i].text == "("]
        are_ai = all(name in self._functions and not self._functions[name].is_aggregate for name in called)
        return bool(called) and are_ai and cell[0].word == called[0] and closing(cell, 1) == len(cell) - 1

    def _is_text(self, cell: _Cell, index: int) -> bool:
        """Whether a token is all of the first argument of its function, and a text of the row."""
        if index < 2 or cell[index - 1].text != "(" or cell[index + 1].text not in (",", ")"):
            return False
        argument = self._functions[cell[index - 2].word].arguments[0]
        return argument.is_text and argument.name != "model"

    def _add(self, values: list[str]) -> str:
        self.columns.append(values)
        return _name(len(self.columns) - 1)


def _are_alike(texts: Sequence[str], kind: re.Pattern[str]) -> bool:
    """Whether all cells are literals of a kind, or NULL, but not all of them."""
    values = [text for text in texts if text.upper() != "NULL"]
    return bool(values) and all(kind.fullmatch(text) for text in values)


def _name(index: int) -> str:
    return f"{PREFIX}c{index}"
