"""Arrow columns of one DuckDB chunk as distinct rows of Python values, and values back as a column."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ARROW_TYPES = {"VARCHAR": pa.string(), "BOOLEAN": pa.bool_(), "INTEGER": pa.int32(), "DOUBLE": pa.float64()}


def arrow_type(sql_type: str) -> pa.DataType:
    """The Arrow type of a SQL type: VARCHAR, BOOLEAN, INTEGER, DOUBLE, or a list of one of them."""
    if sql_type.endswith("[]"):
        return pa.list_(arrow_type(sql_type[:-2]))
    return ARROW_TYPES[sql_type]


class Column:
    """One argument of a chunk: a constant, or a value a row."""

    __slots__ = ("constant", "values")

    def __init__(self, array: pa.ChunkedArray | pa.Array) -> None:
        self.constant = _is_constant(array)
        self.values: list[Any] = array[:1].to_pylist() if self.constant else array.to_pylist()


class Rows:
    """The distinct rows of a chunk. distinct: their values, in order of first appearance. index: for each row of
    the chunk the position of its distinct row."""

    __slots__ = ("distinct", "index")

    def __init__(self, columns: Sequence[Column], num_rows: int) -> None:
        varying = [column.values for column in columns if not column.constant]
        if not varying:
            self.distinct = [tuple(column.values[0] for column in columns)]
            self.index = [0] * num_rows
            return
        keys: list[Any] = varying[0] if len(varying) == 1 else list(zip(*varying, strict=True))
        if not all(isinstance(values[0], Hashable) for values in varying) or any(map(_has_list, varying)):
            keys = [repr(key) for key in keys]
        positions: dict[Any, int] = {}
        firsts: list[int] = []
        self.index = []
        for row, key in enumerate(keys):
            position = positions.setdefault(key, len(firsts))
            if position == len(firsts):
                firsts.append(row)
            self.index.append(position)
        spread = [column.values * num_rows if column.constant else column.values for column in columns]
        self.distinct = [tuple(values[row] for values in spread) for row in firsts]


def struct_columns(array: pa.ChunkedArray) -> dict[str, Column]:
    """The fields of a struct column that are not NULL in every row."""
    chunk = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
    fields = [(field.name, chunk.field(i)) for i, field in enumerate(chunk.type)]
    return {name: Column(values) for name, values in fields if values.null_count < len(values)}


def to_array(values: list[Any], index: list[int], sql_type: str) -> pa.Array:
    """One value a row of the chunk, from one value a distinct row."""
    array = pa.array(values, type=arrow_type(sql_type))
    if len(values) == len(index):
        return array
    return array.take(pa.array(index, type=pa.int32()))


def _is_constant(array: pa.ChunkedArray | pa.Array) -> bool:
    length = len(array)
    if array.null_count == length:
        return True
    if length == 1:
        return True
    if array.null_count or array[0] != array[length - 1]:
        return False
    if pa.types.is_nested(array.type):
        return len(set(map(repr, array.to_pylist()))) == 1
    return bool(pc.all(pc.equal(array, array[0])).as_py())


def _has_list(values: list[Any]) -> bool:
    return any(isinstance(value, list | dict) for value in values)
