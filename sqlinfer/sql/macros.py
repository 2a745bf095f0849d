"""The SQL of our macros: they give functions their SQL names, defaults and named parameters, over any function that
takes the arguments and a struct of the options."""

from __future__ import annotations

from collections.abc import Callable

from sqlinfer.functions import RETURNS, Argument, Function, sql_literal
from sqlinfer.sql.call_sites import SITE

MakeCall = Callable[[list[str], str], str]
"""From the SQL of the arguments, and of the options as a struct, the SQL of a call."""


def macro(name: str, function: Function, make_call: MakeCall) -> str:
    """The SQL that makes the macro of a function under one of its names."""
    signature = [
        quoted(argument.name) + ("" if argument.required else f" := {sql_literal(argument.default)}")
        for argument in function.arguments
    ]
    signature += [f"{quoted(option)} := NULL" for option in function.options]
    if function.type_of:
        signature.append(f"{RETURNS} := 'VARCHAR'")
    arguments = [_cast(argument) for argument in function.arguments]
    if function.is_aggregate:
        arguments[0] = _texts(quoted(function.arguments[0].name), is_list=name not in function.list_names)
    signature.append(f"{SITE} := NULL")
    options = ", ".join(f"{option!r}: {quoted(option)}" for option in (*function.options, SITE))
    call = make_call(arguments, f"{{{options}}}")
    if function.type_of:  # DuckDB takes a structure that is put together by ||, and by no function
        call = f"from_json({call}, '\"' || {RETURNS} || '\"')"
    return f"CREATE OR REPLACE TEMP MACRO {quoted(name)}({', '.join(signature)}) AS {call}"


def _cast(argument: Argument) -> str:
    """Texts take any type; the other kinds are checked when they come."""
    return f"{quoted(argument.name)}::VARCHAR" if argument.kind is str else quoted(argument.name)


def _texts(value: str, is_list: bool) -> str:
    """The texts of a group; NULL if all are. Sorted, as the order of list() without one changes from run to run."""
    listed = f"{value}::VARCHAR[]" if is_list else f"list({value}::VARCHAR ORDER BY {value}::VARCHAR)"
    return f"nullif(list_filter({listed}, lambda _text: _text IS NOT NULL), [])"


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever stands in it."""
    return '"' + name.replace('"', '""') + '"'
