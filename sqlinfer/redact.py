"""Takes secrets out of texts that are kept or shown: SQL statements, settings, error messages. Knows no store.

It looks for names that mean secrets, for the forms of well-known tokens, and for the values of this process's own
secret environment variables and of a project's secret variables; it would rather hide too much than too little.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "***"
_NAMES = (
    r"(?:[\w-]*(?:password|passwd|passphrase|passcode|pwd|secret|secret[-_]access[-_]key|api[-_]?key|access[-_]?key|"
    r"private[-_]?key|account[-_]?key|encryption[-_]?key|credentials?|connection[-_]?string)|"
    r"(?:[\w-]+[-_])?token|key[-_]id|x-\w+-signature|(?<=[?&;])sig(?:nature)?)"
)
_NAME = re.compile(rf"{_NAMES}\Z", re.IGNORECASE)
_OWN_VARIABLES = ("PWD", "OLDPWD")
"""Of the shell: the working folder."""
_LITERAL = r"(?:e'(?:[^'\\]|''|\\.)*'?|'(?:[^']|'')*'?|\"(?:[^\"\\]|\"\"|\\.)*\"?|(?P<tag>\$\w*\$).*?(?:(?P=tag)|\Z))"
"""A text as SQL and JSON write it; one that is cut off ends with the text."""
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [\w ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [\w ]*PRIVATE KEY(?: BLOCK)?-----|\Z)", re.DOTALL
)
_URL_USER = re.compile(r"(?<=://)[^\s'\"]+(?=@)")
_HEADER = re.compile(r"""(\b(?:authorization|cookie)["']?\s*[:=]\s*["']?)[^\n'"]+""", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"""(?<![\w-])(?P<name>{_NAMES}["']?
    (?:\s*(?::=|=>|=|%3d|:|\bto\b)\s*   # password = , token => , "api_key": , SET secret TO
    |\s+(?=e?['"$]\S)))                # PASSWORD 'x'
    (?:{_LITERAL}|[^\s,;&)'"]+)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_CREATE_SECRET = re.compile(r"\bcreate\b[^;()]*\bsecret\b[^;(]*\(", re.IGNORECASE)
_QUOTED = re.compile(_LITERAL, re.IGNORECASE | re.DOTALL)
_TOKENS = re.compile(
    r"\b(?:hf_\w{16,}|sk-[\w-]{16,}|gh[a-z]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?|(?i:bearer)\s+[\w.~+/=-]{16,})"
)
_LEAST_SECRET = 8
"""Characters; a shorter value of a variable stands in too many innocent texts."""
_given: set[str] = set()


def redact(text: str) -> str:
    """The text with each secret as ***.

    >>> redact("ATTACH 'postgres://ann:pw@db/shop'; CREATE SECRET s (TYPE s3, KEY_ID 'A', SECRET 'B')")
    "ATTACH 'postgres://***@db/shop'; CREATE SECRET s (TYPE s3, KEY_ID ***, SECRET ***)"
    >>> redact("SELECT ai_gen(body, max_tokens := 9) FROM 'https://x.org/a.csv?token=abc&page=2'")
    "SELECT ai_gen(body, max_tokens := 9) FROM 'https://x.org/a.csv?token=***&page=2'"
    """
    named = {value for name, value in os.environ.items() if _NAME.match(name) and name not in _OWN_VARIABLES}
    for value in named | _given:
        if len(value) >= _LEAST_SECRET:
            for spelling in _spellings(value):
                text = text.replace(spelling, HIDDEN)
    text = _without_secret_statements(_PRIVATE_KEY.sub(HIDDEN, text))
    text = _HEADER.sub(rf"\g<1>{HIDDEN}", _URL_USER.sub(HIDDEN, text))
    return _TOKENS.sub(HIDDEN, _ASSIGNED.sub(rf"\g<name>{HIDDEN}", text))


def secrets_among(variables: Mapping[str, Any]) -> list[str]:
    """The names of the variables that hold secrets, whose values are hidden from now on wherever they stand."""
    names = [name for name, value in variables.items() if redact_all({name: value}) != {name: value}]
    _given.update(str(variables[name]) for name in names)
    return names


def redact_all(value: Any) -> Any:
    """A value of JSON's kinds with each secret in it as ***, also what stands under a name that means a secret."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: HIDDEN if item and _NAME.match(str(name)) else redact_all(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(item) for item in value]
    return value


def _spellings(secret: str) -> set[str]:
    """A secret as it stands in SQL, JSON and URLs. The name of a file that holds secrets is none."""
    if secret.startswith(os.sep) and os.path.exists(secret):  # noqa: PTH110 - Path.exists raises for long texts
        return set()
    return {secret, secret.replace("'", "''"), json.dumps(secret)[1:-1], quote(secret, safe=""), quote_plus(secret)}


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
