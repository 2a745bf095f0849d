"""Runs the same SQL with two versions of a model, and measures how far their answers agree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlinfer.errors import EXCERPT, SqlinferError, nearest
from sqlinfer.functions.call_options import Options
from sqlinfer.inference.job import ShowProgress
from sqlinfer.metrics import Agreement, CompareTexts, agreement, kind_of
from sqlinfer.sql.explain.explain import runs_in_transaction
from sqlinfer.sql.parsing.probe_queries import probe_queries
from sqlinfer.sql.parsing.split_statements import split_statements
from sqlinfer.sql.session import Session
from sqlinfer.store import JobRecord
from sqlinfer.store.names import parse_reference

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Matching:
    """How rows are matched, and what is compared.

    key: the column that tells one row from another; None matches rows by their position.
    reference: the column with the true values.
    chosen: the columns to compare; none for all that differ.
    """

    key: str | None = None
    reference: str | None = None
    chosen: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class VersionRun:
    """What the SQL took with one version.

    model: the version.
    rows: of its result.
    unmatched: those of them that the other result does not have.
    job, requests, known, generated, failed, prompt_tokens, completion_tokens, cost, seconds: as of the job.
    """

    model: str
    rows: int
    unmatched: int
    job: int
    requests: int
    known: int
    generated: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ColumnComparison:
    """How far the versions agree in one column.

    column: its name; a field of a STRUCT is a column of its own.
    agreement: of the first version with the second.
    first, second: of each version with the reference; None if there is none of this kind.
    """

    column: str
    agreement: Agreement
    first: Agreement | None = None
    second: Agreement | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions of a model on the same rows.

    label: stands for the SQL: its file.
    rows: that both results have.
    same: columns that are equal in all of these.
    """

    label: str
    first: VersionRun
    second: VersionRun
    rows: int
    columns: Sequence[ColumnComparison]
    same: Sequence[str]
    key: str | None
    reference: str | None


def compare(
    session: Session,
    models: tuple[str, str],
    sql: str,
    label: str,
    matching: Matching,
    show_progress: ShowProgress | None = None,
) -> Comparison:
    """Run a script with each of two models, and compare the rows of its last statement. The model answers the calls
    that name no model, or one of the two names without a version.

    Answers are kept; statements run in a transaction that is rolled back, and no file is written.
    """
    versions = [str(session.runtime.store.registry.get(model)) for model in models]
    if versions[0] == versions[1]:
        raise SqlinferError(f"{models[0]} and {models[1]} are the same version, {versions[0]}. Name two versions")
    tables, jobs = [], []
    for model, version in zip(models, versions, strict=True):
        with session.runtime.standing_in({parse_reference(name).name for name in models}, model):
            table, job = _run(session, model, sql, label, show_progress)
        if version not in job.models and table.num_rows:
            raise SqlinferError(
                f"{label} does not use {version}: no call names {parse_reference(model).name!r} or leaves it open"
            )
        tables.append(table)
        jobs.append(job)
    key = None if matching.key is None else _column(tables[0], matching.key)
    pairs = _matched_rows(tables, models, key)
    first, second = (table.take(pa.array(rows, pa.int64())) for table, rows in zip(tables, pairs, strict=True))
    columns, same = _compare(first, second, matching, session.runtime.functions["rouge"].ask)
    runs = [
        VersionRun(
            version, table.num_rows, table.num_rows - first.num_rows, job.job_id, job.requests, job.known,
            job.generated, job.failed, job.prompt_tokens, job.completion_tokens, job.cost, round(job.seconds, 3),
        )
        for version, table, job in zip(versions, tables, jobs, strict=True)
    ]  # fmt: skip
    return Comparison(label, runs[0], runs[1], first.num_rows, columns, same, matching.key, matching.reference)


def _run(
    session: Session, model: str, sql: str, label: str, show_progress: ShowProgress | None
) -> tuple[pa.Table, JobRecord]:
    """The rows of a script's last statement with a model, fields of STRUCTs as columns, and the record of its job."""
    statements = split_statements(sql)
    queries = probe_queries(statements[-1]) if statements else ()
    if len(queries) != 1:
        last = statements[-1][:EXCERPT] if statements else "there is none"
        raise SqlinferError(f"{label}: the last statement must have one SELECT, whose rows are compared: {last}")
    defaults = Options(model, on_error="null")  # a failed row is counted, and costs no other
    session.execute("BEGIN")
    try:
        recording = session.job(sql, {"compare": model, "files": [label]}, show_progress=show_progress)
        with session.evaluator.using(defaults=defaults), recording as job:
            for text in statements[:-1]:
                statement = session.statements.plan(text)
                if runs_in_transaction(statement):
                    session.statements.run(statement)
            rows = session.rows(queries[0])
            assert rows is not None
            table = rows.arrow().read_all()
    finally:
        session.execute("ROLLBACK")
    while any(pa.types.is_struct(column.type) for column in table.schema):
        table = table.flatten()
    assert job.job_id is not None
    return _with_distinct_names(table), session.runtime.store.jobs.show(job.job_id)


def _with_distinct_names(table: pa.Table) -> pa.Table:
    """With a number behind a name that comes again, as DuckDB has it."""
    names = table.column_names
    before = [names[:index].count(name) for index, name in enumerate(names)]
    return table.rename_columns([f"{name}_{n}" if n else name for name, n in zip(names, before, strict=True)])


def _values(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column; NaN is none, as it would differ from itself."""
    return [None if value != value else value for value in column.to_pylist()]  # noqa: PLR0124


def _matched_rows(tables: Sequence[pa.Table], models: tuple[str, str], key: str | None) -> tuple[list[int], list[int]]:
    """The positions of the rows that both tables have, in the order of the first."""
    if key is not None:
        first, second = (
            _positions(table[key].to_pylist(), key, model) for table, model in zip(tables, models, strict=True)
        )
        both = [value for value in first if value in second]
        return [first[value] for value in both], [second[value] for value in both]
    counts = [table.num_rows for table in tables]
    if counts[0] != counts[1]:
        raise SqlinferError(
            f"The result has {counts[0]:,} rows with {models[0]} and {counts[1]:,} with {models[1]}, so that rows "
            f"cannot be matched by position. Name a column that tells them apart: --key COLUMN. "
            f"Columns: {', '.join(tables[0].column_names)}"
        )
    return list(range(counts[0])), list(range(counts[1]))


def _positions(values: Sequence[Any], key: str, model: str) -> dict[Any, int]:
    positions: dict[Any, int] = {}
    for position, value in enumerate(values):
        if value is None or value in positions:
            problem = "is NULL in a row" if value is None else f"is {value!r} in several rows"
            raise SqlinferError(f"--key {key} {problem} with {model}, and must tell one row from another")
        positions[value] = position
    return positions


def _compare(
    first: pa.Table, second: pa.Table, matching: Matching, compare_texts: CompareTexts
) -> tuple[list[ColumnComparison], list[str]]:
    """The comparison of each column that is to be compared, and the columns that are equal in all rows."""
    apart = {_column(first, name) for name in (matching.key, matching.reference) if name is not None}
    names = [name for name in first.column_names if name not in apart and name in second.column_names]
    ours, theirs = ({name: _values(table[name]) for name in names} for table in (first, second))
    same = [name for name in names if ours[name] == theirs[name]]
    chosen = [name for name in names if name not in same]
    truth: list[Any] = []
    if matching.reference is not None:
        truth = _values(first[_column(first, matching.reference)])
        chosen = chosen or [name for name in names if kind_of(ours[name]) == kind_of(truth)]
    if matching.chosen:
        chosen = [column for name in matching.chosen for column in _columns_of(names, name)]

    def against_reference(values: Sequence[Any]) -> Agreement | None:
        if kind_of(values) != kind_of(truth):
            return None
        rows = [pair for pair in zip(values, truth, strict=True) if pair[1] is not None]
        return agreement([value for value, _ in rows], [true for _, true in rows], compare_texts)

    compared = [
        ColumnComparison(
            name,
            agreement(ours[name], theirs[name], compare_texts),
            against_reference(ours[name]) if truth else None,
            against_reference(theirs[name]) if truth else None,
        )
        for name in chosen
    ]
    return compared, same


def _column(table: pa.Table, name: str) -> str:
    """The column of a name, in any case of letters."""
    columns = [column for column in table.column_names if column.lower() == name.lower()]
    if not columns:
        raise SqlinferError(f"The result has no column {name!r}. {nearest(name, table.column_names)}")
    return str(columns[0])


def _columns_of(names: Sequence[str], name: str) -> list[str]:
    """The column of a name, or those of a STRUCT of this name."""
    columns = [c for c in names if c.lower() == name.lower() or c.lower().startswith(f"{name.lower()}.")]
    if not columns:
        raise SqlinferError(f"There is no column {name!r} to compare. {nearest(name, names)}")
    return columns
