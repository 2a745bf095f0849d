"""DuckDB's own tokens of a SQL text, with exact spans and the depth of parentheses; knows no grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass

import duckdb

_LEXEME = re.compile(
    r"""
      "(?:[^"]|"")*"                        # quoted name
    | [eE]'(?:[^'\\]|''|\\.)*'              # string with escapes
    | [xXbBuU]?&?'(?:[^']|'')*'             # string
    | (?P<tag>\$[^\W\d]\w*\$|\$\$).*?(?P=tag)   # dollar-quoted string
    | \$\w+ | \?\d*                         # parameter
    | \d[\w.]*(?:(?<=[eE])[+-]\d+)?         # number
    | \w[\w$]*                              # word
    | :=|=>|::|->>|->|<=|>=|<>|!=|==|\|\||\*\*|//|.
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Token:
    """One lexeme: its text, its span in the SQL text in characters, and how many parentheses are open around it.

    A closing parenthesis has the depth of its opening one. word: the text in lower case if it is an
    unquoted name or keyword, the name itself in lower case if quoted, else "".
    """

    text: str
    start: int
    end: int
    depth: int
    word: str

    @property
    def keyword(self) -> str:
        """The word in upper case, but "" for a quoted name."""
        return "" if self.text.startswith('"') else self.word.upper()


def tokenize(sql: str) -> list[Token]:
    """The tokens of a text, comments left out; a text that DuckDB cannot tokenise gives what it could.

    >>> [t.text for t in tokenize("select f(x) -- no\\n, 'it''s'")]
    ['select', 'f', '(', 'x', ')', ',', "'it''s'"]
    """
    tokens: list[Token] = []
    depth = 0
    end = 0
    for start in _starts(sql):
        if start < end or _COMMENT.match(sql, start):
            continue
        match = _LEXEME.match(sql, start)
        if match is None:
            continue
        text, end = match.group(), match.end()
        if text in ")]}":
            depth -= 1
        tokens.append(Token(text, start, end, depth, _word(text)))
        if text in "([{":
            depth += 1
    return tokens


def closing(tokens: list[Token], opening: int) -> int:
    """The index of the token that closes the parenthesis at index opening; len(tokens) if nothing does."""
    depth = tokens[opening].depth
    return next((i for i in range(opening + 1, len(tokens)) if tokens[i].depth == depth), len(tokens))


def _starts(sql: str) -> list[int]:
    """Offsets of DuckDB's tokens in characters (it counts bytes)."""
    offsets = [offset for offset, _ in duckdb.tokenize(sql)]
    if sql.isascii():
        return offsets
    raw = sql.encode("utf-8", "replace")
    starts, position, characters = [], 0, 0
    for offset in offsets:
        characters += len(raw[position:offset].decode("utf-8", "replace"))
        position = offset
        starts.append(characters)
    return starts


def _word(text: str) -> str:
    if text.startswith('"'):
        return text[1:-1].replace('""', '"').lower()
    return text.lower() if text[0].isalpha() or text[0] == "_" else ""
