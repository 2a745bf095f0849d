"""Prints the rows of queries as they come: table, CSV, JSON lines or Parquet. Holds no more than a batch of them."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import click

from sqlinfer.cli.tables import echo_json, echo_table, to_cell
from sqlinfer.errors import SqlinferError
from sqlinfer.units import count

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["table", "csv", "json", "parquet"]
FORMATS = ("table", "csv", "json", "parquet")
_SHOWN_ROWS = 40
_PLAN = ["explain_key", "explain_value"]
"""The columns of EXPLAIN, whose value is drawn already."""


class Results:
    """Prints one result after another in one format."""

    def __init__(self, format: Format) -> None:
        self._num_results = 0
        if format == "parquet" and sys.stdout.isatty():
            raise click.UsageError(
                "Parquet is binary. Redirect it to a file: sqlinfer run ... --format parquet > x.parquet"
            )
        self._format = format

    def write(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Print the rows of one query, to the last of them."""
        match self._format:
            case "table":
                self._table(schema, batches)
            case "csv":
                self._csv(schema, batches)
            case "json":
                self._json(schema, batches)
            case "parquet":
                self._parquet(schema, batches)
        self._num_results += 1

    def _table(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        shown: list[tuple[Any, ...]] = []
        num_rows = 0
        for batch in batches:
            num_rows += batch.num_rows
            if len(shown) < _SHOWN_ROWS:
                shown += _rows(batch.slice(0, _SHOWN_ROWS - len(shown)))
        if schema.names == _PLAN:
            click.echo("\n".join(plan for _, plan in shown))
            return
        echo_table(schema.names, shown)
        if num_rows > len(shown):
            click.echo(f"{count(num_rows, 'row')}, the first {len(shown)} shown; --format csv or json prints all.")

    def _csv(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        if self._num_results:
            click.echo()
        click.echo(_csv_lines([schema.names]), nl=False)
        for batch in batches:
            click.echo(_csv_lines([_csv_value(value) for value in row] for row in _rows(batch)), nl=False)

    def _json(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        for batch in batches:
            for row in _rows(batch):
                echo_json(dict(zip(schema.names, row, strict=True)))

    def _parquet(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        from pyarrow import parquet

        if self._num_results:
            raise SqlinferError(
                "A Parquet file holds the rows of one query, and there are several. Run them one by one."
            )
        stream = sys.stdout.buffer
        with parquet.ParquetWriter(stream, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        stream.flush()


def _rows(batch: pa.RecordBatch) -> Iterable[tuple[Any, ...]]:
    # By position: two columns of a query may have one name.
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(rows)
    return lines.getvalue()


def _csv_value(value: Any) -> Any:
    """NULL is empty; what is neither text nor number is written as in a table."""
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return value if value is None or is_plain else to_cell(value)
