"""A pass over SQL text: the file of a COPY with AI functions gets its name when it is whole.

An atomic write: DuckDB writes a new file under its name from the first row on, so that a run that is killed would leave
a part of it, which the next run has to take for a file that is there.
"""

from __future__ import annotations

from sqlinfer.sql.parsing.tokens import tokenize
from sqlinfer.sql.parsing.written_targets import copied_file
from sqlinfer.sql.rewrite.context import RewriteContext

_OWN_WAY = {"PARTITION_BY", "PER_THREAD_OUTPUT", "FILE_SIZE_BYTES", "USE_TMP_FILE"}
"""Options that write several files, or say themselves how one is written."""
_OPTION = "USE_TMP_FILE true"


def atomic_copy(sql: str, context: RewriteContext) -> str:
    """The statement, with DuckDB's option that writes beside the file and renames it at the end.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions())
    >>> atomic_copy("COPY (SELECT f(x) FROM t) TO 'x.csv'", context)
    "COPY (SELECT f(x) FROM t) TO 'x.csv' (USE_TMP_FILE true)"
    >>> atomic_copy("COPY (SELECT f(x) FROM t) TO 'x.csv' WITH (HEADER false)", context)
    "COPY (SELECT f(x) FROM t) TO 'x.csv' WITH (USE_TMP_FILE true, HEADER false)"
    """
    tokens, file = tokenize(sql), copied_file(sql, context.parameters)
    if file is None or not file.is_plain:
        return sql
    options = [token for token in tokens[file.end :] if token.text != ";"]
    if not options:
        end = tokens[file.end - 1].end
        return f"{sql[:end]} ({_OPTION}){sql[end:]}"
    opening = options[1] if options[0].keyword == "WITH" and len(options) > 1 else options[0]
    if opening.text != "(" or _OWN_WAY & {token.word.upper() for token in options}:
        return sql
    return f"{sql[: opening.end]}{_OPTION}, {sql[opening.end :]}"
