"""The rows of a statement as a stream: as Arrow has them, or as texts that DuckDB itself writes. No value of a row is
ever one of Python's, which has fewer types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

_BATCH_ROWS = 10_000
_NUMBERS = {"tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "float", "double"}
_EXACT_NUMBERS = {"ubigint", "hugeint", "uhugeint", "decimal", "bignum", "varint"}
"""What the DuckDB shell writes into JSON as text: readers of JSON have 64 bits at most."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a relation; each method reads them anew. The connection is busy until a stream is drained."""

    relation: duckdb.DuckDBPyRelation
    """DuckDB's own."""

    @property
    def names(self) -> list[str]:
        """The columns' names; two may be the same."""
        return list(self.relation.columns)

    @property
    def are_numbers(self) -> list[bool]:
        """Whether each column has numbers."""
        return [sql_type.id in _NUMBERS | _EXACT_NUMBERS for sql_type in self.relation.types]

    def arrow(self) -> pa.RecordBatchReader:
        """The rows as Arrow."""
        return self.relation.to_arrow_reader(_BATCH_ROWS)

    def texts(self) -> Iterator[Sequence[str | None]]:
        """The rows as DuckDB writes their values: `duckdb -csv` and its tables; None is NULL."""
        return self._project([f"#{i}::VARCHAR" for i in range(1, len(self.names) + 1)])

    def json(self) -> Iterator[Sequence[str]]:
        """The rows as DuckDB writes their values into JSON: `duckdb -jsonlines`."""
        columns = [_json(f"#{i}", sql_type) for i, sql_type in enumerate(self.relation.types, start=1)]
        for row in self._project(columns):
            yield ["null" if value is None else value for value in row]

    def _project(self, columns: Sequence[str]) -> Iterator[Sequence[str | None]]:
        for batch in self.relation.project(", ".join(columns)).to_arrow_reader(_BATCH_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _json(column: str, sql_type: duckdb.sqltypes.DuckDBPyType) -> str:
    if str(sql_type) == "JSON":
        return f"{column}::VARCHAR"
    is_text = sql_type.id == "varchar" or sql_type.id in _EXACT_NUMBERS
    return f"to_json({column}::VARCHAR)::VARCHAR" if is_text else f"CAST({column} AS JSON)::VARCHAR"
