"""DuckDB's own tokens of a SQL text, with exact spans and the depth of parentheses; knows no grammar."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

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
_SPACE = re.compile("[\u00a0\u1680\u2000-\u200f\u202f\u205f\u3000\ufeff]")
"""What DuckDB takes for a space, the byte order mark of a file among them; its tokenizer does not."""
QUERY_WORDS = frozenset({"SELECT", "FROM", "WITH", "VALUES", "TABLE", "PIVOT", "UNPIVOT", "DESCRIBE", "SHOW"})
"""Words that may begin a query in parentheses."""
_LONG = 100_000
"""Characters past which a text is not worth its place in the cache: a token takes far more memory than its text."""


@dataclass(frozen=True, slots=True)
class Token:
    """One lexeme of a SQL text.

    text: as written.
    start, end: its span in the SQL text, in characters.
    depth: how many parentheses are open around it; a closing one has the depth of its opening one.
    word: the name or keyword in lower case, without its quotes; else "".
    keyword: the word in upper case where it can be one: not quoted, and not after a dot; else "".
    """

    text: str
    start: int
    end: int
    depth: int
    word: str
    keyword: str


def tokenize(sql: str) -> tuple[Token, ...]:
    """The tokens of a text, comments left out; a text that DuckDB cannot tokenize gives what it could.

    Cached: all passes over one text share its tokens.

    >>> [t.text for t in tokenize("select f(x) -- no\\n, 'it''s'")]
    ['select', 'f', '(', 'x', ')', ',', "'it''s'"]
    """
    return (_tokens if len(sql) < _LONG else _tokens_of_long_text)(sql)


def _lex(sql: str) -> tuple[Token, ...]:
    tokens: list[Token] = []
    depth = 0
    end = 0
    spaced = _SPACE.sub(" ", sql)
    for start in _starts(spaced):
        if start < end or _COMMENT.match(spaced, start):
            continue
        match = _LEXEME.match(spaced, start)
        if match is None:
            continue
        end = match.end()
        text = sql[start:end]
        if text in ")]}":
            depth -= 1
        word = _word(text)
        is_name = text.startswith('"') or (tokens and tokens[-1].text == ".")
        tokens.append(Token(text, start, end, depth, word, "" if is_name else word.upper()))
        if text in "([{":
            depth += 1
    return tuple(tokens)


_tokens = lru_cache(maxsize=1024)(_lex)
_tokens_of_long_text = lru_cache(maxsize=2)(_lex)


def keywords(tokens: Sequence[Token]) -> list[str]:
    """The keywords of some tokens; "" for what is none."""
    return [token.keyword for token in tokens]


def first_keyword(tokens: Sequence[Token], *wanted: str, depth: int = 0, start: int = 0) -> int | None:
    """The index of the first token at a depth that is one of some keywords; None if there is none."""
    return next(
        (i for i in range(start, len(tokens)) if tokens[i].depth == depth and tokens[i].keyword in wanted), None
    )


def split_at_commas(tokens: Sequence[Token], depth: int) -> list[list[Token]]:
    """The parts of some tokens between the commas at a depth; one empty part if there are no tokens."""
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == "," and token.depth == depth:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def closing(tokens: Sequence[Token], opening: int) -> int:
    """The index of the token that closes the parenthesis at index opening; len(tokens) if nothing does."""
    depth = tokens[opening].depth
    return next((i for i in range(opening + 1, len(tokens)) if tokens[i].depth == depth), len(tokens))


def text_of(sql: str, tokens: Sequence[Token]) -> str:
    """The text from the first to the last of some tokens."""
    return sql[tokens[0].start : tokens[-1].end] if tokens else ""


def has_name(tokens: Sequence[Token], names: Collection[str]) -> bool:
    """Whether one of the tokens is one of the names, which are in lower case."""
    return any(token.word in names for token in tokens)


def has_any(tokens: Sequence[Token], starts: Collection[int]) -> bool:
    """Whether one of the tokens begins at one of some offsets."""
    return any(token.start in starts for token in tokens)


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
    return text.lower() if (text[0].isalpha() or text[0] == "_") and not text.endswith("'") else ""
