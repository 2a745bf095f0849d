"""Takes secrets out of texts that are kept or shown: SQL statements, settings, error messages. Knows no store.

It looks for names that mean secrets, for the forms of well-known tokens, and for the values of this process's own
secret environment variables; it would rather hide too much than too little.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_NAMES = (
    r"(?:\w*(?:password|passwd|passphrase|pwd|secret|secret_access_key|api_?key|access_?key|private_?key|"
    r"credentials?|connection_string)|(?:\w+_)?token|key_id)"
)
_NAME = re.compile(rf"{_NAMES}\Z", re.IGNORECASE)
_URL_USER = re.compile(r"(?<=://)[^\s'\"]+(?=@)")
_HEADER = re.compile(r"""(\bauthorization["']?\s*[:=]\s*["']?)[^\n'"]+""", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"""\b({_NAMES}["']?\s*(?::=|=>|=|:|\bto\b)\s*)   # password = , token => , "api_key": , SET secret TO
    (?:'(?:[^']|'')*'?|"[^"]*"?|[^\s,;&)'"]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_CREATE_SECRET = re.compile(r"\bcreate\b[^;()]*\bsecret\b[^;(]*\(", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^']|'')*'?|\"[^\"]*\"?|\$\$.*?\$\$", re.DOTALL)
_TOKENS = re.compile(
    r"\b(?:hf_\w{16,}|sk-[\w-]{16,}|gh[a-z]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?)"
)
_LEAST_SECRET = 8
"""Characters; a shorter value of an environment variable stands in too many innocent texts."""


def redact(text: str) -> str:
    """The text with each secret as ***.

    >>> redact("ATTACH 'postgres://ann:pw@db/shop'; CREATE SECRET s (TYPE s3, KEY_ID 'A', SECRET 'B')")
    "ATTACH 'postgres://***@db/shop'; CREATE SECRET s (TYPE s3, KEY_ID ***, SECRET ***)"
    >>> redact("SELECT ai_gen(body, max_tokens := 9) FROM 'https://x.org/a.csv?token=abc&page=2'")
    "SELECT ai_gen(body, max_tokens := 9) FROM 'https://x.org/a.csv?token=***&page=2'"
    """
    for name, value in os.environ.items():
        if len(value) >= _LEAST_SECRET and value in text and _NAME.match(name):
            text = text.replace(value, HIDDEN)
    text = _without_secret_statements(text)
    text = _HEADER.sub(rf"\g<1>{HIDDEN}", _URL_USER.sub(HIDDEN, text))
    return _TOKENS.sub(HIDDEN, _ASSIGNED.sub(rf"\g<1>{HIDDEN}", text))


def redact_all(value: Any) -> Any:
    """A value of JSON's kinds with each secret in it as ***, also what stands under a name that means a secret."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: HIDDEN if item and _NAME.match(str(name)) else redact_all(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(item) for item in value]
    return value


def _without_secret_statements(text: str) -> str:
    """CREATE SECRET with every quoted value hidden, wherever a statement of that kind stands in the text."""
    parts, position = [], 0
    while (match := _CREATE_SECRET.search(text, position)) is not None:
        end = _closing(text, match.end())
        parts += [text[position : match.end()], _QUOTED.sub(HIDDEN, text[match.end() : end])]
        position = end
    return "".join([*parts, text[position:]])


def _closing(text: str, start: int) -> int:
    """Where the bracket closes that opened before start; the end of the text if it never does."""
    depth, at = 1, start
    while at < len(text) and depth:
        quoted = _QUOTED.match(text, at)
        if quoted is not None:
            at = quoted.end()
            continue
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at
