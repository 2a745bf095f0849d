"""A pass over SQL text: calls of functions whose type depends on their arguments name that type.

`f(x, many := true)` becomes `f(x, many := true, returns := 'VARCHAR[]')`, which the macro of f turns into the column's
type. Arguments that are no constants leave a call as it is: its value is text, JSON unless it is a text itself.
"""

from __future__ import annotations

import json
from typing import get_type_hints

from sqlinfer.errors import EXCERPT, SqlinferError
from sqlinfer.functions import RETURNS
from sqlinfer.sql.parsing.edits import Edits
from sqlinfer.sql.parsing.parsed_calls import ParsedCall, parsed_calls
from sqlinfer.sql.rewrite.context import RewriteContext
from sqlinfer.sql_text import quote_literal, unquote
from sqlinfer.types import ModelVersion


def annotate_result_types(sql: str, context: RewriteContext) -> str:
    """Add the SQL type to each call whose function derives it from the arguments. Raises SqlinferError for arguments
    that the function refuses.

    >>> from sqlinfer.functions import load_functions
    >>> annotate_result_types("SELECT ai_extract(x, ['town']) FROM t", RewriteContext(load_functions()))
    "SELECT ai_extract(x, ['town'], returns := 'STRUCT(town VARCHAR)') FROM t"
    """
    edits = Edits(sql)
    for call in parsed_calls(sql, context.functions):
        if RETURNS in call.arguments:
            _escape(edits, sql, call)
        sql_type = _type(call, context)
        if sql_type is not None and sql_type != "VARCHAR":
            edits.insert(call.arguments_end, f", {RETURNS} := {quote_literal(_in_json(sql_type))}")
    return edits.apply()


def _in_json(sql_type: str) -> str:
    """A type as it stands in the macro's JSON structure."""
    return json.dumps(sql_type, ensure_ascii=False)[1:-1]


def _escape(edits: Edits, sql: str, call: ParsedCall) -> None:
    """Write the type that a call names as it stands in the macro's JSON structure, if it is a literal."""
    literal = call.arguments[RETURNS]
    start = sql.rfind(literal, 0, call.arguments_end)
    if literal.startswith("'") and '"' in literal and '\\"' not in literal and start >= 0:
        edits.replace(start, start + len(literal), quote_literal(_in_json(unquote(literal))))


def _type(call: ParsedCall, context: RewriteContext) -> str | None:
    """The SQL type of a call; None if it names one already or if it depends on what is no constant."""
    type_of = call.function.type_of
    if type_of is None or RETURNS in call.arguments:
        return None
    values = call.constants(type_of)
    if values is None:
        return None
    for name, hint in get_type_hints(type_of).items():
        if hint is ModelVersion:
            values[name] = context.find_model(values[name])
            if values[name] is None:
                return None
    try:
        return type_of(**values)
    except SqlinferError as error:
        raise type(error)(f"{call.function.name}: {error}") from None
    except RecursionError:
        raise SqlinferError(f"{call.function.name}: the type of its value is nested too deeply") from None
    except Exception as error:
        where = f"{call.function.path}: `returns` of {call.function.name} failed on {str(values)[:EXCERPT]}"
        raise SqlinferError(f"{where}: {type(error).__name__}: {error}") from error
