"""A pass over SQL text: each AI call carries its number in the text, so that a probe can be counted call by call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlinfer.functions import Function
from sqlinfer.sql.internal_names import SITE
from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.parsed_calls import call_spans
from sqlinfer.sql.parsing.tokens import first_keyword, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext


@dataclass(frozen=True, slots=True)
class CallSite:
    """Where a call stands.

    number: 1 is the first of the script.
    line: of its statement's text, the first is 1.
    function: the name of the function that it calls.
    text: of the call, on one line.
    """

    number: int
    line: int
    function: str
    text: str


def number_call_sites(sql: str, context: RewriteContext) -> str:
    """The text with a number in each AI call.

    >>> from sqlinfer.functions import load_functions
    >>> context = RewriteContext(load_functions())
    >>> number_call_sites("SELECT ai_agg(x ORDER BY y), ai_gen(ai_gen(x))", context).replace(SITE, "site")
    'SELECT ai_agg(x, site := 1 ORDER BY y), ai_gen(ai_gen(x, site := 3), site := 2)'
    """
    tokens, edits = tokenize(sql), Edits(sql)
    for number, (index, end) in enumerate(call_spans(tokens, context.functions), context.first_site):
        order_by = first_keyword(tokens[:end], "ORDER", depth=tokens[index].depth + 1, start=index + 2)
        last = (end if order_by is None else order_by) - 1
        edits.insert(tokens[last].end, f"{', ' * (last > index + 1)}{SITE} := {number}")
    return edits.apply()


def call_sites(sql: str, functions: Mapping[str, Function], first_site: int = 1) -> list[CallSite]:
    """The calls that number_call_sites numbers.

    >>> from sqlinfer.functions import load_functions
    >>> [site.text for site in call_sites("SELECT ai_agg(x ORDER BY y), ai_gen(ai_gen(x))", load_functions())]
    ['ai_agg(x ORDER BY y)', 'ai_gen(ai_gen(x))', 'ai_gen(x)']
    """
    tokens, sites = tokenize(sql), list[CallSite]()
    for number, (index, end) in enumerate(call_spans(tokens, functions), first_site):
        name = tokens[index]
        is_method = index > 1 and tokens[index - 1].text == "."
        start = tokens[index - 2].start if is_method else name.start
        text = " ".join(sql[start : tokens[end].end].split())
        sites.append(CallSite(number, sql.count("\n", 0, name.start) + 1, functions[name.word].name, text))
    return sites
