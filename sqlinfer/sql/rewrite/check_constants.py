"""A pass over SQL text that changes nothing: constant arguments that are invalid in every row are refused.

What comes from a column is checked row by row, and is its row's error.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlinfer.errors import SqlinferError
from sqlinfer.functions import Function
from sqlinfer.functions.call_options import Options, read_options
from sqlinfer.scoring import extra_fields
from sqlinfer.sql.parsing.parsed_calls import ParsedCall, parsed_calls
from sqlinfer.sql.parsing.tokens import closing, split_at_commas, tokenize
from sqlinfer.sql.rewrite.context import RewriteContext
from sqlinfer.sql_text import unquote


def check_constants(sql: str, context: RewriteContext) -> str:
    """Raise SqlinferError for the first constant of a call, argument or option, that the function does not take.

    >>> from sqlinfer.functions import load_functions
    >>> check_constants("SELECT ai_gen(x, temperature := -1) FROM t", RewriteContext(load_functions()))
    Traceback (most recent call last):
    sqlinfer.errors.SqlinferError: ai_gen: temperature must be a number from 0 to 100, not -1
    """
    for call in parsed_calls(sql, context.functions):
        function = call.function
        for argument in function.arguments[function.is_aggregate :]:
            if not argument.is_text:
                _value(call, argument.name)
        for option in function.options:
            value = _value(call, option)
            if value is not None:
                read_options({option: value}, function.name, Options())
        if function.scored:
            _check_fields(call, context)
        if function.check is not None and (values := call.constants(function.check)) is not None:
            _check(function, values)
    return sql


def _check_fields(call: ParsedCall, context: RewriteContext) -> None:
    """Refuse a row that a call spells out with fields that are none of its model's; a whole row may have others."""
    tokens = tokenize(call.arguments.get(call.function.scored, ""))
    name = _value(call, "model")
    version = context.find_model(str(name)) if name and tokens and tokens[0].text == "{" else None
    if version is not None and version.scorer is not None and closing(tokens, 0) == len(tokens) - 1:
        names = [unquote(part[0].text) for part in split_at_commas(tokens[1:-1], tokens[0].depth + 1) if part]
        if problem := extra_fields(version.scorer, names):
            raise SqlinferError(f"{call.name}: model {version} {problem}")


def _value(call: ParsedCall, name: str) -> object:
    """The checked value of an argument; None if it is no constant."""
    try:
        return call.constant(name) if name.lower() in call.arguments else None
    except ValueError:
        return None


def _check(function: Function, values: Mapping[str, object]) -> None:
    assert function.check is not None
    try:
        function.check(**values)
    except SqlinferError as error:
        raise type(error)(f"{function.name}: {error}") from None
