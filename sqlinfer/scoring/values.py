"""Values of any SQL type as texts, and back: DuckDB's own reading and writing of them, a batch at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from sqlinfer.errors import SqlinferError
from sqlinfer.sql_text import quote_literal

_BLOB = re.compile(r'(?<!")\bBLOB\b(?!")')


def read_type(sql_type: str) -> tuple[str, pa.DataType]:
    """A SQL type as DuckDB writes it, and as Arrow has it. Raises SqlinferError if DuckDB has no such type."""
    with duckdb.connect() as connection:
        try:
            written = str(connection.sqltype(sql_type))
            return written, connection.sql(f"SELECT NULL::{written} AS value").to_arrow_table().schema.field(0).type
        except (duckdb.Error, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise SqlinferError(f"{sql_type!r} is not a SQL type ({reason}). As in: 'STRUCT(class INTEGER)'") from None


def decode(texts: Sequence[str], sql_type: str, input_type: str = "") -> pa.Array:
    """The values of texts of a SQL type, as AnyValue has them, cast to the input's type. Raises duckdb.Error."""
    if sql_type == "BLOB":
        value = "from_base64(text)"
    elif sql_type.startswith("STRUCT") or sql_type.endswith("]"):
        value = f"from_json(text, {quote_literal(_quoted(_BLOB.sub('VARCHAR', sql_type)))})::{sql_type}"
    else:
        value = f"text::{sql_type}"
    value = f"({value})::{input_type or sql_type}"
    return _computed(value, pa.table({"text": pa.array(texts, type=pa.string())}))


def encode(values: pa.Array, sql_type: str) -> list[str]:
    """Values of a SQL type as JSON texts, null for NULL; a BLOB is a text of base64."""
    value = "base64(text)" if sql_type == "BLOB" else f"text::{sql_type}"
    texts: list[str] = _computed(f"coalesce(to_json({value})::VARCHAR, 'null')", pa.table({"text": values})).to_pylist()
    return texts


def _quoted(sql_type: str) -> str:
    escaped = sql_type.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _computed(expression: str, rows: pa.Table) -> pa.Array:
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        column = connection.sql(f"SELECT {expression} AS value FROM rows").to_arrow_table().column(0)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
