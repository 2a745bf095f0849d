"""A pass over SQL text that changes nothing: constant arguments that no row can be asked with are refused.

What comes from a column is checked row by row, and is its row's error.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlinfer.errors import SqlinferError
from sqlinfer.functions import Function
from sqlinfer.functions.call_options import Options, read_options
from sqlinfer.sql.rewrite.parsed_calls import ParsedCall, parsed_calls


def check_constants(sql: str, functions: Mapping[str, Function]) -> None:
    """Raise SqlinferError for the first constant of a call, argument or option, that the function does not take."""
    for call in parsed_calls(sql, functions):
        function = call.function
        for argument in function.arguments[function.is_aggregate :]:
            if not argument.is_text:
                _value(call, argument.name)
        for option in function.options:
            value = _value(call, option)
            if value is not None:
                read_options({option: value}, function.name, Options())
        values = call.constants(function.check) if function.check is not None else None
        if function.check is not None and values is not None:
            _check(function, values)


def _value(call: ParsedCall, name: str) -> object:
    """The checked value of an argument; None if it is no constant."""
    try:
        return call.constant(name) if name.lower() in call.given else None
    except ValueError:
        return None


def _check(function: Function, values: Mapping[str, object]) -> None:
    assert function.check is not None
    try:
        function.check(**values)
    except SqlinferError as error:
        raise type(error)(f"{function.name}: {error}") from None
