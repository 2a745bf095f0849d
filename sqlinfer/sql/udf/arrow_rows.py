"""Arrow columns of one DuckDB chunk as distinct rows of Python values, and values back as a column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlinfer.types import Embedding

ARROW_TYPES = {
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "INTEGER": pa.int32(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
}


@lru_cache(maxsize=256)
def arrow_type(sql_type: str) -> pa.DataType:
    """The Arrow type of a SQL type, as DuckDB has it."""
    if sql_type in ARROW_TYPES:
        return ARROW_TYPES[sql_type]
    with duckdb.connect() as connection:
        return connection.sql(f"SELECT NULL::{sql_type}").to_arrow_table().schema.field(0).type


_MOST_BYTES = 32 << 20
"""Of the values of some rows: Python has them several times over, and a chunk of images has hundreds of megabytes."""


def distinct_rows(columns: Sequence[pa.Array], num_rows: int) -> Iterator[DistinctRows]:
    """The rows of a chunk, in parts that fit the memory: all of them, where values are not large."""
    num_bytes = sum(column.nbytes for column in columns)
    size = num_rows if num_bytes <= _MOST_BYTES else max(1, num_rows * _MOST_BYTES // num_bytes)
    for start in range(0, num_rows, size):
        yield DistinctRows([column[start : start + size] for column in columns], min(size, num_rows - start))


class DistinctRows:
    """The distinct rows of a chunk. distinct: their values. index: for each row of the chunk the position of its
    distinct row, as an Arrow array of integers."""

    __slots__ = ("distinct", "index")

    def __init__(self, columns: Sequence[pa.Array], num_rows: int) -> None:
        constant = [_is_constant(column) for column in columns]
        encoded = [_encode(column) for column, same in zip(columns, constant, strict=True) if not same]
        if not encoded:
            self.index = pa.array(np.zeros(num_rows, dtype=np.int32))
            firsts = pa.array([0])
        elif len(encoded) == 1 and not pa.types.is_nested(columns[constant.index(False)].type):
            self.index = encoded[0].indices
            values = iter([encoded[0].dictionary.to_pylist()])
            size = len(encoded[0].dictionary)
            lists = [c[:1].to_pylist() * size if s else next(values) for c, s in zip(columns, constant, strict=True)]
            self.distinct = list(zip(*lists, strict=True))
            return
        else:
            index = np.zeros(num_rows, dtype=np.int64)
            for column in encoded:
                codes = index * len(column.dictionary) + column.indices.to_numpy(zero_copy_only=False)
                _, first, index = np.unique(codes, return_index=True, return_inverse=True)
            self.index, firsts = pa.array(index), pa.array(first)
        self.distinct = list(zip(*(column.take(firsts).to_pylist() for column in columns), strict=True))


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; DuckDB hands over one chunk."""
    return _plain(column.chunk(0) if column.num_chunks == 1 else column.combine_chunks())


def struct_columns(array: pa.Array) -> dict[str, pa.Array]:
    """The fields of a struct column that are not NULL in every row."""
    fields = [(field.name, _plain(array.field(i))) for i, field in enumerate(array.type)]
    return {name: values for name, values in fields if values.null_count < len(values)}


def _plain(array: pa.Array) -> pa.Array:
    """An array without an extension type, which DuckDB gives BOOLEAN columns under arrow_lossless_conversion."""
    if not isinstance(array.type, pa.BaseExtensionType):
        return array
    return array.storage.cast(pa.bool_()) if array.type.extension_name == "arrow.bool8" else array.storage


def to_array(values: list[Any], index: pa.Array, sql_type: str) -> pa.Array:
    """One value a row of the chunk, from one value a distinct row."""
    values = [np.asarray(value) if isinstance(value, Embedding) else value for value in values]  # Arrow copies it whole
    return pa.array(values, type=arrow_type(sql_type)).take(index)


def _is_constant(array: pa.Array) -> bool:
    if len(array) == 1 or array.null_count == len(array):
        return True
    if array.null_count or array[0] != array[len(array) - 1]:
        return False
    if pa.types.is_nested(array.type):
        return bool(array.take(pa.array(np.zeros(len(array), dtype=np.int64))).equals(array))
    return bool(pc.all(pc.equal(array, array[0])).as_py())


def _encode(array: pa.Array) -> pa.DictionaryArray:
    """The column as positions in a list of its distinct values, NULL among them."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_nested(array.type):
        array = pa.array([repr(value) for value in array.to_pylist()])
    return array.dictionary_encode(null_encoding="encode")
