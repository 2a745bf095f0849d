"""SET sqlinfer_max_retries = 5 and RESET sqlinfer_max_retries: the settings of jobs in SQL."""

from __future__ import annotations

from sqlinfer.config.job_settings import SettingsLayers
from sqlinfer.errors import SqlinferError
from sqlinfer.sql.parsing.tokens import tokenize
from sqlinfer.sql_text import unquote

_PREFIX = "sqlinfer_"


def is_set_statement(sql: str) -> bool:
    """Whether a statement is one of ours.

    >>> is_set_statement("set sqlinfer_max_retries = 5"), is_set_statement("SET threads = 2")
    (True, False)
    """
    head = [token.word for token in tokenize(sql)[:3]]
    name = head[2] if head[1:2] in (["session"], ["global"], ["local"]) and len(head) > 2 else "".join(head[1:2])
    return head[:1] in (["set"], ["reset"]) and name.startswith(_PREFIX)


def run_set_statement(settings: SettingsLayers, sql: str) -> None:
    """Run one of our statements; what it says holds for the statements after it."""
    tokens = [token for token in tokenize(sql) if token.word not in ("session", "global", "local")]
    name = tokens[1].word.removeprefix(_PREFIX)
    if tokens[0].keyword == "RESET" and len(tokens) == 2:
        settings.reset(name)
        return
    if tokens[0].keyword != "SET" or len(tokens) < 4 or not (tokens[2].text == "=" or tokens[2].keyword == "TO"):
        raise SqlinferError(f"{sql}\nexpected SET sqlinfer_{name} = value, or RESET sqlinfer_{name}")
    text = sql[tokens[3].start : tokens[-1].end].strip()
    if text[0] == "'" and len(tokens) == 4:
        text = unquote(text)
    settings.set(name, text)
