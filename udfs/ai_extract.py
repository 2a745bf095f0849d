import json
from typing import Any

from sqlinfer import Request, SqlinferError, answer_type

WORDS = {"integer": "integer", "number": "number", "boolean": "true or false", "array": "list", "object": "object"}


def ai_extract(text: str, fields: list[str] | dict[str, str] | str) -> Request:
    """Extract named fields from a text.

    fields: names, a STRUCT of names and SQL types, or a JSON schema. The value is a STRUCT; a field that the text does
    not tell is NULL.
    """
    schema = _type(fields).schema
    named = json.loads(schema).get("properties") or {}
    rendered = ", ".join(name + _hint(part) for name, part in named.items()) or schema
    return Request(
        text,
        instruction=f"Extract these fields from the following text as JSON: {rendered}. "
        "A field that the text does not tell is null.",
        schema=schema,
    )


def read(answer: str) -> Any:
    return json.loads(answer)


def returns(fields: list[str] | dict[str, str] | str) -> str:
    return str(_type(fields).sql)


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
    quoted = {name.replace('"', '""'): kind for name, kind in types.items()}
    return answer_type("STRUCT(" + ", ".join(f'"{name}" {kind}' for name, kind in quoted.items()) + ")")


def _hint(part: dict[str, Any]) -> str:
    if "enum" in part:
        said = " or ".join(str(value) for value in part["enum"] if value is not None)
    else:
        kinds = part.get("type", "")
        said = part.get("description") or WORDS.get(kinds if isinstance(kinds, str) else kinds[0], "")
    return f" ({said})" if said else ""
