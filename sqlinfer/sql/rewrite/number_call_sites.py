"""A pass over SQL text: each AI call says which one of the text it is, so that a probe can be counted call by call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlinfer.functions import Function
from sqlinfer.sql.internal_names import SITE
from sqlinfer.sql.rewrite.tokens import closing, tokenize


@dataclass(frozen=True, slots=True)
class CallSite:
    """Where a call stands. number: 1 is the first of the script. line: of its statement's text, the first is 1.
    text: of the call, on one line."""

    number: int
    line: int
    function: str
    text: str


def number_call_sites(sql: str, functions: Mapping[str, Function], first: int = 1) -> tuple[str, list[CallSite]]:
    """The text with a number in each AI call, and what stands there. first: the first call's number.

    >>> from sqlinfer.functions import load_functions
    >>> text, sites = number_call_sites("SELECT ai_agg(x ORDER BY y), ai_gen(ai_gen(x))", load_functions())
    >>> text.replace(SITE, "site")
    'SELECT ai_agg(x, site := 1 ORDER BY y), ai_gen(ai_gen(x, site := 3), site := 2)'
    >>> [site.text for site in sites]
    ['ai_agg(x ORDER BY y)', 'ai_gen(ai_gen(x))', 'ai_gen(x)']
    """
    tokens = tokenize(sql)
    sites: list[CallSite] = []
    said: list[tuple[int, str]] = []
    for index, name in enumerate(tokens[:-1]):
        end = closing(tokens, index + 1)
        if name.word not in functions or tokens[index + 1].text != "(" or end == len(tokens):
            continue
        depth = tokens[index + 1].depth + 1
        inside = range(index + 2, end)
        last = next((i for i in inside if tokens[i].depth == depth and tokens[i].keyword == "ORDER"), end) - 1
        number = first + len(sites)
        said.append((tokens[last].end, f"{', ' * (last > index + 1)}{SITE} := {number}"))
        is_method = index > 1 and tokens[index - 1].text == "."
        start = tokens[index - 2].start if is_method else name.start
        text = " ".join(sql[start : tokens[end].end].split())
        sites.append(CallSite(number, sql.count("\n", 0, name.start) + 1, functions[name.word].name, text))
    for at, mark in sorted(said, reverse=True):
        sql = sql[:at] + mark + sql[at:]
    return sql, sites
