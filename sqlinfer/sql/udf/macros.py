"""The SQL of our macros: they give functions their SQL names, defaults and named parameters, over any function that
takes the arguments and a struct of the options."""

from __future__ import annotations

from collections.abc import Callable

from sqlinfer.functions import RETURNS, Argument, Function
from sqlinfer.sql.internal_names import CONSTANT, MISSING, SITE
from sqlinfer.sql.udf.call_metadata import NOT_GIVEN, is_constant, missing
from sqlinfer.sql_text import quote_identifier, quote_literal
from sqlinfer.types import AnyValue, Columns, TextOrBlob

MakeCall = Callable[[list[str], str], str]
"""From the SQL of the arguments, and of the options as a struct, the SQL of a call."""


def macro(
    name: str, function: Function, make_call: MakeCall, is_numbered: bool = False, tells_missing: bool = False
) -> str:
    """The SQL that makes the macro of a function under one of its names. is_numbered: it takes a call's number.
    tells_missing: a call without an argument that it needs reaches the function, whose message says so. DuckDB's own
    lists the macro's whole signature."""
    is_aggregated = function.is_aggregate and name in function.list_names
    required = [a.name for a in function.arguments[is_aggregated:] if a.required] if tells_missing else []
    signature = [
        quote_identifier(argument.name) + _default(argument, argument.name in required)
        for argument in function.arguments
    ]
    signature += [f"{quote_identifier(option)} := NULL" for option in function.options]
    if function.type_of:
        signature.append(f"{RETURNS} := 'VARCHAR'")
    arguments = [_cast(argument) for argument in function.arguments]
    if function.is_aggregate:
        arguments[0] = _texts(quote_identifier(function.arguments[0].name), is_list=not is_aggregated)
    # coalesce(): of the value of another macro (nullif) in LATERAL, DuckDB 1.5 loses the name of the field
    fields = {option: f"coalesce({quote_identifier(option)})" for option in function.options}
    fields[CONSTANT] = is_constant(quote_identifier("model"))
    if required:
        fields[MISSING] = missing({argument: quote_identifier(argument) for argument in required})
    if is_numbered:
        signature.append(f"{SITE} := NULL")
        fields[SITE] = quote_identifier(SITE)
    call = make_call(arguments, f"{{{', '.join(f'{field!r}: {value}' for field, value in fields.items())}}}")
    if function.type_of:  # DuckDB takes a structure that is put together by ||, and by no function
        structure = f"'\"' || {RETURNS} || '\"'"
        # ELSE: as DuckDB binds a constant call that has no answer yet, it is NULL, and so would be the column's type
        call = f"CASE WHEN true THEN from_json({call}, {structure}) ELSE from_json('null', {structure}) END"
    return f"CREATE OR REPLACE TEMP MACRO {quote_identifier(name)}({', '.join(signature)}) AS {call}"


def _default(argument: Argument, is_checked_later: bool) -> str:
    if is_checked_later:
        return f" := {NOT_GIVEN}"
    return "" if argument.required else f" := {quote_literal(argument.default)}"


def _cast(argument: Argument) -> str:
    """Texts take any type; the other kinds are checked when they come."""
    name = quote_identifier(argument.name)
    if argument.python_type is TextOrBlob:
        return f"CASE WHEN typeof({name}) = 'BLOB' THEN {_blob(name)} ELSE chr(10) || {name}::VARCHAR END"
    if argument.python_type is AnyValue:
        return _value(name)
    if argument.is_files:
        return _files(name)
    if argument.python_type is Columns:
        return f"CASE WHEN {quote_identifier('reorder')} THEN to_json({name})::VARCHAR ELSE {name}::VARCHAR END"
    return f"{name}::VARCHAR" if argument.is_text else name


def _value(value: str) -> str:
    """A value of any type as a text, see types.AnyValue. TRY_CAST, as other types than BLOB reach it too."""
    is_json = f"typeof({value}) LIKE 'STRUCT%' OR typeof({value}) LIKE '%]'"
    text = (
        f"CASE WHEN typeof({value}) = 'BLOB' THEN base64(TRY_CAST({value} AS BLOB)) "
        f"WHEN {is_json} THEN to_json({value})::VARCHAR ELSE {value}::VARCHAR END"
    )
    return f"typeof({value}) || chr(10) || {text}"


def _blob(value: str) -> str:
    return f"'BLOB' || chr(10) || base64(TRY_CAST({value} AS BLOB))"


def _files(value: str) -> str:
    """A BLOB, or the BLOBs of a list, as texts; a value of another type goes along, for its error."""
    return (
        f"CASE WHEN typeof({value}) LIKE '%NULL%' THEN NULL WHEN typeof({value}) = 'BLOB' THEN [{_blob(value)}] "
        f"WHEN typeof({value}) = 'BLOB[]' "
        f"THEN list_transform(TRY_CAST({value} AS BLOB[]), lambda _file: {_blob('_file')}) "
        f"ELSE [typeof({value}) || chr(10) || {value}::VARCHAR] END"
    )


def _texts(value: str, is_list: bool) -> str:
    """The texts of a group; NULL if all are. Sorted, as the order of list() without one changes from run to run."""
    listed = f"{value}::VARCHAR[]" if is_list else f"list({value}::VARCHAR ORDER BY {value}::VARCHAR)"
    return f"nullif(list_filter({listed}, lambda _text: _text IS NOT NULL), [])"
