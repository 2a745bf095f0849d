"""SQL of other warehouses as DuckDB has it; the only place, beside the passes, that knows sqlglot."""

from __future__ import annotations

import sqlglot
from sqlglot import exp


def duckdb_type(text: str) -> str:
    """A type as Databricks or BigQuery writes it, with angle brackets, as DuckDB writes it; the text if it is none.

    >>> duckdb_type("STRUCT<a: ARRAY<STRING>, b: INT>")
    'STRUCT(a TEXT[], b INT)'
    """
    try:
        return exp.DataType.build(text, dialect="databricks").sql("duckdb")
    except sqlglot.errors.SqlglotError:
        return text
