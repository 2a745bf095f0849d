"""sqlinfer_jobs(), sqlinfer_usage(), sqlinfer_errors(), sqlinfer_models(): the store as tables, read when queried.

Each is a table macro over a volatile function that gives all rows as one list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, cast

import duckdb
import pyarrow as pa

from sqlinfer.sql.commands.model_statements import models_table
from sqlinfer.sql.internal_names import PREFIX
from sqlinfer.store import Store

_TEXT, _WHOLE, _REAL, _TIME = ("VARCHAR", pa.string()), ("BIGINT", pa.int64()), ("DOUBLE", pa.float64()), (
    "TIMESTAMP",
    pa.timestamp("us"),
)  # fmt: skip
_TEXTS = ("VARCHAR[]", pa.list_(pa.string()))
_WRITTEN = (
    "STRUCT(target VARCHAR, models VARCHAR[])[]",
    pa.list_(pa.struct([("target", pa.string()), ("models", _TEXTS[1])])),
)
_JOB = {
    "job": _WHOLE, "state": _TEXT, "started": _TIME, "ended": _TIME, "statement": _TEXT, "models": _TEXTS,
    "rows": _WHOLE, "requests": _WHOLE, "known": _WHOLE, "generated": _WHOLE, "failed": _WHOLE, "expected": _WHOLE,
    "prompt_tokens": _WHOLE, "completion_tokens": _WHOLE, "cost": _REAL, "seconds": _REAL, "probe_seconds": _REAL,
    "infer_seconds": _REAL, "replay_seconds": _REAL, "batch_fill": _REAL, "peak_memory_bytes": _WHOLE,
    "peak_device_bytes": _WHOLE, "error": _TEXT, "written": _WRITTEN,
}  # fmt: skip
_USAGE = {
    "job": _WHOLE, "function": _TEXT, "model": _TEXT, "requests": _WHOLE, "failed": _WHOLE, "prompt_tokens": _WHOLE,
    "completion_tokens": _WHOLE, "cost": _REAL,
}  # fmt: skip
_ERROR = {"job": _WHOLE, "function": _TEXT, "model": _TEXT, "text": _TEXT, "error": _TEXT}
_MODEL = {
    "name": _TEXT, "version": _WHOLE, "task": _TEXT, "dtype": _TEXT, "source": _TEXT, "fingerprint": _TEXT,
    "description": _TEXT,
}  # fmt: skip


TABLES: Mapping[str, Mapping[str, tuple[str, pa.DataType]]] = {
    "sqlinfer_jobs": _JOB, "sqlinfer_usage": _USAGE, "sqlinfer_errors": _ERROR, "sqlinfer_models": _MODEL,
}  # fmt: skip


def table_rows(store: Store, name: str) -> list[dict[str, Any]]:
    """The rows of one of TABLES, as they are now."""
    rows = {"sqlinfer_jobs": _jobs, "sqlinfer_usage": _usage, "sqlinfer_errors": _errors, "sqlinfer_models": _models}
    return [{column: row.get(column) for column in TABLES[name]} for row in rows[name](store)]


def table_macro(name: str, call: str) -> str:
    """The SQL that makes the macro of one of TABLES. call: gives all its rows as one list."""
    return f"CREATE OR REPLACE TEMP MACRO {name}() AS TABLE SELECT row.* FROM (SELECT unnest({call}) AS row)"


def table_type(name: str) -> str:
    """The SQL type of all rows of one of TABLES as one list."""
    return f"STRUCT({', '.join(f'{column} {sql}' for column, (sql, _) in TABLES[name].items())})[]"


class SystemTables:
    """The tables on one connection; close them before it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, store: Store, number: int) -> None:
        self._connection = connection
        self._made: dict[str, str] = {}
        create = cast("Callable[..., object]", connection.create_function)  # its stubs know no Arrow functions
        for name in TABLES:
            under = self._made[name] = f"{PREFIX}{number}_{name}"
            read = _reader(store, name)
            create(under, read, ["INTEGER"], table_type(name), type="arrow", null_handling="special", side_effects=True)
            connection.execute(table_macro(name, f"{under}(0)"))

    def close(self) -> None:
        """Take the tables away, unless the connection is closed already."""
        try:
            while self._made:
                name, under = self._made.popitem()
                self._connection.execute(f"DROP MACRO TABLE IF EXISTS temp.{name}")
                self._connection.remove_function(under)
        except duckdb.Error:
            self._made.clear()


def _reader(store: Store, name: str) -> Callable[[pa.ChunkedArray], pa.Array]:
    rows_type = pa.list_(pa.struct([(column, arrow) for column, (_, arrow) in TABLES[name].items()]))

    def read(calls: pa.ChunkedArray) -> pa.Array:
        return pa.array([table_rows(store, name)] * len(calls), type=rows_type)

    return read


def _jobs(store: Store) -> list[dict[str, Any]]:
    rows = []
    for job in store.jobs.list(-1):
        row = {"job": job.job_id, **asdict(job), "models": list(job.models)}
        row |= {"started": _time(job.started), "ended": _time(job.ended)}
        row["written"] = [{"target": target, "models": list(models)} for target, models in job.written.items()]
        rows.append(row | {f"{phase}_seconds": job.phases.get(phase) for phase in ("probe", "infer", "replay")})
    return rows


def _usage(store: Store) -> list[dict[str, Any]]:
    return [{"job": used.job_id, **asdict(used)} for used in store.jobs.usage()]


def _errors(store: Store) -> list[dict[str, Any]]:
    return [
        {"job": e.job_id, "function": e.function, "model": e.model, "text": e.excerpt, "error": e.message}
        for e in store.jobs.errors()
    ]


def _models(store: Store) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = models_table(store.registry.list()).to_pylist()
    return rows


def _time(seconds: float | None) -> datetime | None:
    """UTC, without a zone: DuckDB gives a zone to Python by pytz alone."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
