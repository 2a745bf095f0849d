"""The SQL that gives a DuckDB with the extension our functions: TEMP MACROs over its one function.

Arguments and options go as JSON, and values come back as texts, which the macro casts to the function's type.
"""

from __future__ import annotations

from sqlinfer.functions import Function, Functions
from sqlinfer.sql.udf.macros import MakeCall, macro
from sqlinfer.sql.udf.system_tables import TABLES, table_macro, table_type
from sqlinfer.sql_text import quote_literal

_SCALARS = {"VARCHAR": "", "BOOLEAN": "::BOOLEAN", "INTEGER": "::INTEGER", "DOUBLE": "::DOUBLE", "FLOAT": "::FLOAT"}


def macros(functions: Functions, address: str, context: str) -> str:
    """The SQL of all functions and tables. address: of the server. context: goes with every call."""
    made = [macro(name, function, _remote(function, address, context)) for name, function in functions.items()]
    for name in TABLES:
        call = f"__sqlinfer_call({_literals(address, context, name)}, NULL, '[]')"
        made.append(table_macro(name, f"{call}{cast(table_type(name))}"))
    return ";\n".join([*made, ""])


def cast(sql_type: str) -> str:
    """What makes a value of a type of its text.

    >>> cast("BOOLEAN"), cast("VARCHAR[]")
    ('::BOOLEAN', '::JSON::VARCHAR[]')
    """
    return _SCALARS.get(sql_type, f"::JSON::{sql_type}")


def _remote(function: Function, address: str, context: str) -> MakeCall:
    head = _literals(address, context, function.name)
    to_type = cast(function.returns)

    def make(arguments: list[str], options: str) -> str:
        listed = f"json_array({', '.join(arguments)})"
        return f"__sqlinfer_call({head}, to_json({options})::VARCHAR, {listed}::VARCHAR){to_type}"

    return make


def _literals(*texts: str) -> str:
    return ", ".join(map(quote_literal, texts))
