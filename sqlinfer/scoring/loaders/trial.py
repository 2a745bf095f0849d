"""What a model takes, found by trial: a row that it takes, then the same row with another value in each column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

_MOST_COLUMNS = 500


def take_columns(predict: Callable[[Any], Any], columns: list[str], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a signature that is about columns; "NULL" is the type of those that take any. hints: values that the
    model has seen in some columns; numbers are tried in the others, then texts."""
    row = {name: hints.get(name, 0.0) for name in columns}
    if not _works(predict, row):
        row = {name: hints.get(name, "a") for name in columns}
    if len(columns) > _MOST_COLUMNS or not _works(predict, row):
        return {"input": {name: sql_type(hints[name]) if name in hints else '"NULL"' for name in columns}}
    types, not_null = {}, []
    for name in columns:
        takes_text = name not in hints and isinstance(row[name], float) and _works(predict, {**row, name: "a"})
        types[name] = '"NULL"' if takes_text else sql_type(row[name])
        empty = None if isinstance(row[name], str) else np.nan
        if not _works(predict, {**row, name: empty}):
            not_null.append(name)
    return {"input": types, "not_null": not_null, "sample": row}


def sql_type(value: Any) -> str:
    """The SQL type of a Python or numpy value, or of a numpy type."""
    kind = np.dtype(value).kind if isinstance(value, np.dtype | type) else np.asarray(value).dtype.kind
    return {"i": "BIGINT", "u": "BIGINT", "f": "DOUBLE", "b": "BOOLEAN"}.get(kind, "VARCHAR")


def _works(predict: Callable[[Any], Any], row: Mapping[str, Any]) -> bool:
    try:
        return len(predict(pd.DataFrame([row]))) == 1
    except Exception:  # noqa: BLE001 - a library may raise anything
        return False
