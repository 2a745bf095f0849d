"""Prints the rows of queries as they come: table, CSV, JSON lines or Parquet. Holds no more than a batch of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Literal

import click

from sqlinfer.cli.tables import echo_table, to_json
from sqlinfer.errors import SqlinferError
from sqlinfer.units import count

if TYPE_CHECKING:
    from sqlinfer.sql.rows import Rows

Format = Literal["table", "csv", "json", "parquet"]
FORMATS = ("table", "csv", "json", "parquet")
_SHOWN_ROWS = 40
_ECHOED_LINES = 1000
_PLAN = ["explain_key", "explain_value"]
"""The columns of EXPLAIN, whose value is drawn already."""
_IS_QUOTED = re.compile(r"""[^ -~]|["',]""")
"""In CSV, as the DuckDB shell has it: also quotes, control characters and all that is not ASCII."""


class Results:
    """Prints one result after another in one format."""

    def __init__(self, format: Format) -> None:
        self._num_results = 0
        if format == "parquet" and sys.stdout.isatty():
            raise click.UsageError(
                "Parquet is binary. Redirect it to a file: sqlinfer run ... --format parquet > x.parquet"
            )
        self._format = format

    def write(self, rows: Rows) -> None:
        """Print the rows of one query, to the last of them."""
        if rows.names == _PLAN and self._format != "parquet":
            click.echo("\n".join(str(plan) for _, plan in rows.texts()))
            return
        match self._format:
            case "table":
                self._table(rows)
            case "csv":
                self._csv(rows)
            case "json":
                self._json(rows)
            case "parquet":
                self._parquet(rows)
        self._num_results += 1

    def _table(self, rows: Rows) -> None:
        texts = iter(rows.texts())
        shown = list(islice(texts, _SHOWN_ROWS))
        num_rows = len(shown) + sum(1 for _ in texts)
        echo_table(rows.names, shown, rows.are_numbers)
        if num_rows > len(shown):
            click.echo(f"{count(num_rows, 'row')}, the first {len(shown)} shown; --format csv or json prints all.")

    def _csv(self, rows: Rows) -> None:
        if self._num_results:
            click.echo()
        click.echo(_csv_line(rows.names))
        _echo_lines(_csv_line(row) for row in rows.texts())

    def _json(self, rows: Rows) -> None:
        names = [to_json(name) for name in rows.names]
        _echo_lines(
            f"{{{','.join(f'{name}:{value}' for name, value in zip(names, row, strict=True))}}}" for row in rows.json()
        )

    def _parquet(self, rows: Rows) -> None:
        from pyarrow import parquet

        if self._num_results:
            raise SqlinferError(
                "A Parquet file holds the rows of one query, and there are several. Run them one by one."
            )
        stream, batches = sys.stdout.buffer, rows.arrow()
        with parquet.ParquetWriter(stream, batches.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        stream.flush()


def _echo_lines(lines: Iterator[str]) -> None:
    while some := list(islice(lines, _ECHOED_LINES)):
        click.echo("\n".join(some))


def _csv_line(values: Sequence[str | None]) -> str:
    return ",".join(map(_csv_value, values))


def _csv_value(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace('"', '""') + '"' if _IS_QUOTED.search(value) else value
