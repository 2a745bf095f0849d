"""The type of an answer, as SQL or as a JSON schema: each gives the other, and what no answer can be is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import duckdb

from sqlinfer.engine import compile_schema
from sqlinfer.errors import EXCERPT, SqlinferError, nearest
from sqlinfer.sql.udf.type_dialects import duckdb_type
from sqlinfer.sql_text import quote_identifier

_INTEGERS = {"tinyint": 7, "smallint": 15, "integer": 31, "bigint": 63}
_UNSIGNED = {"utinyint": 8, "usmallint": 16, "uinteger": 32, "ubigint": 64}
_UNKNOWN = re.compile(r"Type with name (\S+) does not exist")
_LARGEST = 10**15
_LARGEST_INTEGER = 10**18  # grammars have no numbers of 64 bits
_NUMBER = {"minimum": -_LARGEST, "maximum": _LARGEST, "multipleOf": 1e-9}  # no endless digits, and no overflow
_DAY = (
    r"([1-9]\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
    r"|([1-9]\d(0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29)"
)
_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_PATTERNS = {
    "date": ("date", f"^{_DAY}$"),
    "time": ("time", f"^{_TIME}$"),
    "timestamp": ("date and time", f"^{_DAY}T{_TIME}$"),
    "timestamp with time zone": ("date and time", f"^{_DAY}T{_TIME}Z$"),
    "uuid": ("UUID", r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
}


def _integer(least: int, most: int) -> dict[str, Any]:
    bound = _LARGEST_INTEGER
    return {"type": "integer", "minimum": max(least, -bound), "maximum": min(most, bound)}


_SIMPLE: Mapping[str, dict[str, Any]] = {
    "varchar": {"type": "string"},
    "boolean": {"type": "boolean"},
    "double": {"type": "number", **_NUMBER},
    "float": {"type": "number", **_NUMBER},
    **{name: _integer(-(2**bits), 2**bits - 1) for name, bits in _INTEGERS.items()},
    **{name: _integer(0, 2**bits - 1) for name, bits in _UNSIGNED.items()},
    **{name: {"type": "string", "description": text, "pattern": p} for name, (text, p) in _PATTERNS.items()},
}
_KNOWN = ("VARCHAR", "BOOLEAN", "INTEGER", "BIGINT", "DOUBLE", "DECIMAL", "DATE", "TIMESTAMP", "ENUM", "STRUCT", "JSON")
_SQL = {"string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN"}


@dataclass(frozen=True, slots=True)
class AnswerType:
    """The type of an answer, in both languages.

    sql: a DuckDB type.
    schema: the JSON schema, as text, of its values; fields of a STRUCT may be null.
    """

    sql: str
    schema: str


@lru_cache(maxsize=256)
def answer_type(text: str) -> AnswerType:
    """The type that a text says: SQL, as `STRUCT(name VARCHAR, age INTEGER)`, or a JSON schema. Raises SqlinferError
    that names the part of it which is not understood, or which nothing satisfies."""
    if text.strip().startswith("{"):
        try:
            compile_schema(text)
        except ValueError as error:
            raise SqlinferError(f"cannot hold an answer to the JSON schema: {error}") from None
        schema = _closed(json.loads(text))
        return AnswerType(_sql(schema), json.dumps(schema, ensure_ascii=False))
    with duckdb.connect() as connection:
        try:
            sql_type = connection.sqltype(duckdb_type(text) if "<" in text else text)
            checked = AnswerType(str(sql_type), json.dumps(_schema(sql_type, "the answer"), ensure_ascii=False))
            compile_schema(checked.schema)
        except ValueError as error:
            raise SqlinferError(f"cannot hold an answer to the type {text[:EXCERPT]}: {error}") from None
        except duckdb.Error as error:
            message = str(error).partition("\n")[0]
            unknown = _UNKNOWN.search(message)
            meant = nearest((unknown[1] if unknown else text)[:EXCERPT].upper(), _KNOWN)
            own = " A type of CREATE TYPE is not known here: write it out." if unknown else ""
            raise SqlinferError(
                f"{text[:EXCERPT]!r} is no SQL type and no JSON schema ({message[:EXCERPT]}). {meant} "
                f"As in: 'STRUCT(name VARCHAR, age INTEGER)'.{own}"
            ) from None
    return checked


def struct_of(fields: Mapping[str, str]) -> str:
    """The STRUCT of fields: name -> SQL type."""
    named = ", ".join(f"{quote_identifier(name)} {sql_type}" for name, sql_type in fields.items())
    return f"STRUCT({named})"


def _schema(sql_type: Any, path: str) -> dict[str, Any]:
    """The JSON schema of a DuckDB type. path: of the value, for messages."""
    if str(sql_type) == "JSON":
        return {}
    if sql_type.id in _SIMPLE:
        return dict(_SIMPLE[sql_type.id])
    children = dict(sql_type.children) if sql_type.id in ("decimal", "enum", "list", "array", "struct", "map") else {}
    if sql_type.id == "decimal":
        whole = children["precision"] - children["scale"]
        most = 10**whole - 1 if whole else 0.5  # rounding to the scale overflows nothing
        return {
            "type": "number",
            "minimum": -min(most, _LARGEST),
            "maximum": min(most, _LARGEST),
            "multipleOf": 10.0 ** -min(children["scale"], 9),
        }
    if sql_type.id == "enum":
        return {"enum": list(children["values"])}
    if sql_type.id in ("list", "array"):
        size = {"minItems": children["size"], "maxItems": children["size"]} if sql_type.id == "array" else {}
        return {"type": "array", "items": _schema(children["child"], f"{path}[]"), **size}
    if sql_type.id == "struct":
        fields = {name: _nullable(_schema(child, f"{path}.{name}")) for name, child in children.items()}
        return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    if sql_type.id == "map" and str(children["key"]) == "VARCHAR":
        return {"type": "object", "additionalProperties": _nullable(_schema(children["value"], f"{path}[]"))}
    raise SqlinferError(
        f"{path} cannot be of the type {sql_type}; types of answers are {', '.join(_KNOWN)}, lists and MAP"
    )


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema


def _closed(schema: Any) -> Any:
    """A JSON schema whose objects have the properties that it names, and no others unless it says so, and whose numbers
    have a range that SQL holds."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: value if key in ("enum", "const") else _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") in ("object", ["object", "null"], None):
        closed.setdefault("additionalProperties", False)
    json_types = _json_types(schema)
    if not {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"} & schema.keys():
        if "integer" in json_types:
            closed |= {"minimum": -_LARGEST_INTEGER, "maximum": _LARGEST_INTEGER}
        elif "number" in json_types:
            closed |= _NUMBER
    return closed


def _sql(schema: dict[str, Any]) -> str:
    """The DuckDB type of what satisfies a JSON schema; JSON where there is no closer one."""
    listed = [json_type for json_type in _json_types(schema) if json_type != "null"]
    json_type = listed[0] if len(listed) == 1 else None
    if "enum" in schema and all(isinstance(value, str | None) for value in schema["enum"]):
        return "VARCHAR"
    if json_type == "object" and schema.get("properties") and schema["additionalProperties"] is False:
        return struct_of({name: _sql(part) for name, part in schema["properties"].items()})
    if json_type == "array" and isinstance(schema.get("items"), dict):
        return f"{_sql(schema['items'])}[]"
    if json_type == "string" and schema.get("format") == "date":
        return "DATE"
    return _SQL.get(str(json_type), "JSON")


def _json_types(schema: dict[str, Any]) -> list[Any]:
    json_types = schema.get("type")
    return json_types if isinstance(json_types, list) else [json_types]
