"""Values of any SQL type as texts, and back: DuckDB's own reading and writing of them, a batch at a time."""

from __future__ import annotations

import atexit
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from sqlinfer.errors import SqlinferError
from sqlinfer.sql_text import quote_literal

_BLOB = re.compile(r'(?<!")\bBLOB\b(?!")')


@lru_cache(maxsize=256)
def read_type(sql_type: str) -> tuple[str, pa.DataType]:
    """A SQL type as DuckDB writes it, and as Arrow has it. Raises SqlinferError if DuckDB has no such type."""
    with duckdb.connect() as connection:
        try:
            written = str(connection.sqltype(sql_type))
            return written, connection.sql(f"SELECT NULL::{written} AS value").to_arrow_table().schema.field(0).type
        except (duckdb.Error, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise SqlinferError(f"{sql_type!r} is not a SQL type ({reason}). As in: 'STRUCT(class INTEGER)'") from None


@lru_cache(maxsize=256)
def fields_of(sql_type: str) -> Mapping[str, str]:
    """The SQL types of a STRUCT's fields, by name; none of any other type."""
    if not sql_type.startswith("STRUCT"):
        return {}
    with duckdb.connect() as connection:
        parsed = connection.sqltype(sql_type)
        return {name: str(child) for name, child in parsed.children} if parsed.id == "struct" else {}


@lru_cache(maxsize=256)
def arrow_types(sql_type: str) -> Mapping[str, pa.DataType]:
    """The Arrow types of a STRUCT's fields, by name; none of any other type."""
    return {field.name: field.type for field in read_type(sql_type)[1]} if fields_of(sql_type) else {}


def decode(texts: Sequence[str], sql_type: str, input_type: str = "") -> pa.Array:
    """The values of texts of a SQL type, as AnyValue has them, cast to the input's type unless it is a STRUCT, whose
    fields are matched by name. Raises duckdb.Error."""
    if sql_type == "BLOB":
        value = "from_base64(text)"
    elif sql_type.startswith("STRUCT") or sql_type.endswith("]"):
        value = f"from_json(text, {quote_literal(_quoted(_BLOB.sub('VARCHAR', sql_type)))})::{sql_type}"
    else:
        value = f"text::{sql_type}"
    value = f"({value})::{sql_type if fields_of(input_type) else input_type or sql_type}"
    return _computed(value, pa.table({"text": pa.array(texts, type=pa.string())}))


def encode(values: pa.Array, sql_type: str) -> pa.Array:
    """Values of a SQL type as JSON texts, null for NULL; a BLOB is a text of base64."""
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type):
        texts = values.cast(pa.string())
        if pa.types.is_floating(values.type):  # JSON has no infinity, and DuckDB reads it from a text
            texts = pc.if_else(pc.is_finite(values), texts, pc.binary_join_element_wise('"', texts, '"', ""))
        return pc.fill_null(texts, "null")
    value = "base64(text)" if sql_type == "BLOB" else f"text::{sql_type}"
    return _computed(f"coalesce(to_json({value})::VARCHAR, 'null')", pa.table({"text": values}))


def _quoted(sql_type: str) -> str:
    escaped = sql_type.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@lru_cache(maxsize=1)
def _database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    atexit.register(connection.close)  # DuckDB prints a report of leaks at exit for connections that are still open
    return connection


def _computed(expression: str, rows: pa.Table) -> pa.Array:
    with _database().cursor() as connection:
        connection.register("rows", rows)
        column = connection.sql(f"SELECT {expression} AS value FROM rows").to_arrow_table().column(0)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
