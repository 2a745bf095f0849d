"""Names and values as SQL text, and back. Knows no grammar."""

from __future__ import annotations

from typing import Any


def quote_identifier(name: str) -> str:
    """A name as SQL takes it, whatever its characters.

    >>> print(quote_identifier('say "hi" now'))
    "say ""hi"" now"
    """
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: Any) -> str:
    """A Python value as SQL writes it: None, numbers, true and false, texts and lists of them.

    >>> quote_literal(["it's", None, True])
    "['it''s', NULL, true]"
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(quote_literal(item) for item in value)}]"
    return repr(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"


def unquote(text: str) -> str:
    """The name or text that stands in single or double quotes; a text without quotes stays.

    >>> unquote("'it''s'"), unquote('"a ""b"" c"'), unquote("plain")
    ("it's", 'a "b" c', 'plain')
    """
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        return text
    return text[1:-1].replace(text[0] * 2, text[0])
