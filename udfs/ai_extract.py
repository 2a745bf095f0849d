import json
from typing import Any, Literal

from sqlinfer import Request, SqlinferError, Steps, answer_type, detailed, detailed_type, each_part

WORDS = {"integer": "integer", "number": "number", "boolean": "true or false", "array": "list", "object": "object"}


def ai_extract(
    text: str,
    fields: list[str] | dict[str, str] | str,
    overflow: Literal["truncate", "hierarchical", "error"] = "error",
    details: bool = False,
) -> Steps[Any]:
    """Extract named fields from a text.

    fields: names, a STRUCT of names and SQL types, or a JSON schema. The value is a STRUCT; a field that the text does
    not tell is NULL. overflow: of a text that is too long, 'hierarchical' reads each part: a field's value is that of
    the first part that tells it, and lists are joined, each item once. details: as of summarize.
    """
    schema = _type(fields).schema
    named = json.loads(schema).get("properties") or {}
    rendered = ", ".join(name + _hint(part) for name, part in named.items()) or schema
    request = Request(
        text,
        instruction=f"Extract these fields from the following text as JSON: {rendered}. "
        "A field that the text does not tell is null.",
        overflow="error" if overflow == "hierarchical" else overflow,
        schema=schema,
    )
    steps = _in_parts(request) if overflow == "hierarchical" else _whole(request)
    return (yield from detailed(steps) if details else steps)


def returns(fields: list[str] | dict[str, str] | str, details: bool = False) -> str:
    sql_type = str(_type(fields).sql)
    return detailed_type(sql_type) if details else sql_type


def _whole(request: Request) -> Steps[Any]:
    return json.loads((yield request))


def _in_parts(request: Request) -> Steps[Any]:
    answers = yield from each_part(request)
    values, schema = [json.loads(answer) for answer in answers], json.loads(request.schema)
    if not all(isinstance(value, dict) for value in values):
        return _first(values, schema)
    names, types = dict.fromkeys(name for value in values for name in value), schema.get("properties", {})
    return {name: _first([value.get(name) for value in values], types.get(name, {})) for name in names}


def _first(values: list[Any], schema: dict[str, Any]) -> Any:
    """The first of the values that tells something; of lists, unless their size is bounded, all items once."""
    told_values = [value for value in values if _tells(value)]
    if told_values and all(isinstance(value, list) for value in told_values) and "maxItems" not in schema:
        return list({json.dumps(item): item for value in told_values for item in value}.values())
    return next(iter(told_values), values[0])


def _tells(value: Any) -> bool:
    return any(map(_tells, value.values())) if isinstance(value, dict) else value is not None


def _type(fields: Any) -> Any:
    if isinstance(fields, str):
        return answer_type(fields)
    types = dict.fromkeys(fields, "VARCHAR") if isinstance(fields, list) else fields
    if (
        not isinstance(types, dict)
        or not types
        or not all(isinstance(part, str) and part.strip() for pair in types.items() for part in pair)
    ):
        raise SqlinferError(f"fields must name at least one field, each a text that is not blank, not {fields!r}")
    if len(types) < len(fields):
        raise SqlinferError(f"fields names a field twice: {fields!r}")
    quoted = {name.replace('"', '""'): sql_type for name, sql_type in types.items()}
    return answer_type("STRUCT(" + ", ".join(f'"{name}" {sql_type}' for name, sql_type in quoted.items()) + ")")


def _hint(part: dict[str, Any]) -> str:
    if "enum" in part:
        hint = " or ".join(str(value) for value in part["enum"] if value is not None)
    else:
        types = part.get("type", "")
        hint = part.get("description") or WORDS.get(types if isinstance(types, str) else types[0], "")
    return f" ({hint})" if hint else ""
