"""The columns that a model takes: matched by name, and checked before a row is scored."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from sqlinfer.errors import nearest
from sqlinfer.scoring.values import arrow_types, fields_of, read_type
from sqlinfer.types import Scorer

_ANY = '"NULL"'
_INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")} | {
    *("INTEGER", "UINTEGER"),
}
_FLOATS = {"FLOAT", "DOUBLE"}


def mismatch(scorer: Scorer, sql_type: str) -> str:
    """Why a model cannot take values of a SQL type: all columns that are missing, not its own, or of a wrong type. ""
    if it can. Other columns do no harm, as in a whole row, once all of its own are there."""
    wanted = fields_of(scorer.input_type)
    if not wanted:
        size = _list_size(scorer)
        need = f"takes a list of {size} values, as in ai_predict('NAME', [a, b]), not a value of the type {sql_type}"
        return "" if size is None or sql_type.endswith("]") else need
    columns = ", ".join(f"{name} {_shown(field)}" for name, field in wanted.items())
    given = {name.lower(): field for name, field in fields_of(sql_type).items()}
    if not given:
        return (
            f"takes a row with the columns {columns}, as in ai_predict('NAME', t), not a value of the type {sql_type}"
        )
    absent = [name for name in wanted if name.lower() not in given]
    missing = [name for name in absent if name not in scorer.optional]
    extra = [name for name in given if name not in map(str.lower, wanted)] if absent else []
    wrong = [
        f"{name} ({given[name.lower()]}, not {_shown(field)})"
        for name, field in wanted.items()
        if name not in absent and not _fits(given[name.lower()], field)
    ]
    return describe(missing, extra, wrong, wanted)


def describe(missing: list[str], extra: list[str], wrong: list[str], wanted: Mapping[str, str]) -> str:
    """In words what columns are missing, not the model's, or of a wrong type; "" if none is."""
    if not (missing or (extra and len(wanted)) or wrong):
        return ""
    near = " ".join(filter(None, (nearest(name, [*missing, *wanted]) for name in extra)))
    parts = [
        f"misses {', '.join(missing)}" if missing else "",
        f"does not know {', '.join(extra)}" if extra else "",
        f"cannot take {', '.join(wrong)}" if wrong else "",
    ]
    columns = ", ".join(f"{name} {_shown(field)}" for name, field in wanted.items())
    return f"{'; '.join(filter(None, parts))}. {near} Its columns: {columns}".replace(".  ", ". ")


def extra_fields(scorer: Scorer, names: list[str]) -> str:
    """In words which of the fields that a call spells out are not the model's; "" if none is, and where others are
    missing: then types are named with them, as soon as they are known."""
    wanted = fields_of(scorer.input_type)
    given, known = [name.lower() for name in names], [name.lower() for name in wanted]
    extra = [name for name in names if name.lower() not in known]
    missing = [name for name in wanted if name.lower() not in given and name not in scorer.optional]
    return "" if missing else describe([], extra, [], wanted)


def conform(rows: pa.Array, scorer: Scorer) -> pa.Array:
    """Rows with the columns of the model, in its order and types; an optional one that is missing is NULL. Raises
    pa.ArrowInvalid for a value out of range."""
    types = arrow_types(scorer.input_type)
    if not types:
        return _cast(rows, read_type(scorer.input_type)[1], len(rows)) if scorer.input_type else rows
    given = {field.name.lower(): rows.field(i) for i, field in enumerate(rows.type)}
    columns = [_cast(given.get(name.lower()), arrow_type, len(rows)) for name, arrow_type in types.items()]
    return pa.StructArray.from_arrays(columns, names=list(types), mask=rows.is_null() if rows.null_count else None)


def row_errors(rows: pa.Array, scorer: Scorer) -> dict[int, str]:
    """Why rows, by position, are none that the model takes: by their NULLs, or by the length of a list."""
    if not pa.types.is_struct(rows.type):
        if (size := _list_size(scorer)) is None:
            return {}
        sizes = pc.list_value_length(rows)
        places = pc.indices_nonzero(pc.not_equal(sizes, size)).to_pylist()
        return {place: f"the model takes a list of {size} values, not {sizes[place]}" for place in places}
    refused: dict[int, list[str]] = {}
    for field in rows.type if scorer.not_null else ():
        column = rows.field(field.name)
        if field.name in scorer.not_null and column.null_count:
            for position in pc.indices_nonzero(column.is_null()).to_pylist():
                refused.setdefault(position, []).append(field.name)
    return {
        position: f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} NULL, which the model does not take"
        for position, names in refused.items()
    }


def _list_size(scorer: Scorer) -> int | None:
    """The length of the lists that a model takes; None if it takes others, or something else."""
    wanted = read_type(scorer.input_type)[1] if scorer.input_type else None
    return wanted.list_size if wanted is not None and pa.types.is_fixed_size_list(wanted) else None


def _cast(column: pa.Array | None, wanted: pa.DataType, size: int) -> pa.Array:
    if column is None:
        return pa.nulls(size, wanted)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_decimal(column.type) and pa.types.is_null(wanted):
        return column.cast(pa.float64())
    return column if pa.types.is_null(wanted) or column.type == wanted else column.cast(wanted)


def _shown(sql_type: str) -> str:
    return "of any type" if sql_type == _ANY else sql_type


@lru_cache(maxsize=1024)
def _fits(given: str, wanted: str) -> bool:
    """Whether values of a SQL type can be taken as those of another without a loss."""
    if wanted in (_ANY, given) or {given, wanted} <= _INTEGERS:
        return True
    if wanted in _FLOATS and (given in _INTEGERS | _FLOATS or given.startswith("DECIMAL")):
        return True
    if given == "BOOLEAN" and wanted in _INTEGERS | _FLOATS:
        return True
    with duckdb.connect() as connection:
        row = connection.execute(f"SELECT can_cast_implicitly(NULL::{given}, NULL::{wanted})").fetchone()
    return row is not None and bool(row[0])
