"""A pass over SQL text: the file of a COPY with AI functions gets its name when it is whole.

DuckDB writes a new file under its name from the first row on, so that a run that is killed would leave a part of it,
which the next run has to take for a file that is there.
"""

from __future__ import annotations

from pathlib import Path

from sqlinfer.sql.rewrite.tokens import Token, closing, tokenize
from sqlinfer.sql_text import unquote

_OWN_WAY = {"PARTITION_BY", "PER_THREAD_OUTPUT", "FILE_SIZE_BYTES", "USE_TMP_FILE"}
"""Options that write several files, or say themselves how one is written."""
_OPTION = "USE_TMP_FILE true"


def copied_to(tokens: list[Token]) -> int | None:
    """The index of the file that COPY (SELECT ..) TO writes; None for other statements and for what is no plain text.

    >>> copied_to(tokenize("COPY (SELECT f(x) FROM t) TO 'x.csv'"))
    11
    """
    if len(tokens) < 4 or tokens[0].keyword != "COPY" or tokens[1].text != "(":
        return None
    target = closing(tokens, 1) + 2
    if target >= len(tokens) or tokens[target - 1].keyword != "TO" or not tokens[target].text.startswith("'"):
        return None
    return target


def atomic_copy(sql: str) -> str:
    """The statement, with DuckDB's option that writes beside the file and renames it at the end.

    >>> atomic_copy("COPY (SELECT f(x) FROM t) TO 'x.csv'")
    "COPY (SELECT f(x) FROM t) TO 'x.csv' (USE_TMP_FILE true)"
    >>> atomic_copy("COPY (SELECT f(x) FROM t) TO 'x.csv' WITH (HEADER false)")
    "COPY (SELECT f(x) FROM t) TO 'x.csv' WITH (USE_TMP_FILE true, HEADER false)"
    >>> atomic_copy("COPY (SELECT f(x) FROM t) TO 'x' (FORMAT parquet, PARTITION_BY y)")
    "COPY (SELECT f(x) FROM t) TO 'x' (FORMAT parquet, PARTITION_BY y)"
    """
    tokens = tokenize(sql)
    target = copied_to(tokens)
    if target is None or not _is_plain(unquote(tokens[target].text)):
        return sql
    options = [token for token in tokens[target + 1 :] if token.text != ";"]
    if not options:
        return f"{sql[: tokens[target].end]} ({_OPTION}){sql[tokens[target].end :]}"
    opening = options[1] if options[0].keyword == "WITH" and len(options) > 1 else options[0]
    if opening.text != "(" or _OWN_WAY & {token.word.upper() for token in options}:
        return sql
    return f"{sql[: opening.end]}{_OPTION}, {sql[opening.end :]}"


def _is_plain(name: str) -> bool:
    """Whether it is a file here, or can be one: no pipe, no device and no address."""
    return "://" not in name and (Path(name).is_file() or not Path(name).exists())
