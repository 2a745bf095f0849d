"""Scores the rows of a chunk with models whose results are not kept: no keys, no cache, no phases."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from sqlinfer.errors import EXCERPT, Interrupted, ModelUnusable, RequestsFailed
from sqlinfer.functions import Function
from sqlinfer.inference.failures import Failure, summary
from sqlinfer.scoring import Cancelled, RowResults, mismatch, open_scorer
from sqlinfer.sql.udf.arrow_rows import one_chunk, struct_columns
from sqlinfer.sql.udf.cache_misses import Null
from sqlinfer.sql.udf.call_metadata import take_metadata
from sqlinfer.sql.udf.evaluator import CallEvaluator
from sqlinfer.store import KEY_BYTES
from sqlinfer.types import ModelVersion


class RowScoring:
    """The calls of one connection that go straight to worker processes; DuckDB's threads wait for them."""

    def __init__(self, evaluator: CallEvaluator) -> None:
        self._evaluator = evaluator

    def is_scored(self, models: pa.ChunkedArray) -> pa.Array:
        """Whether the models of these names get rows as they are."""
        names = one_chunk(models).dictionary_encode(null_encoding="encode")
        are_scored = [self._is_scored(name) for name in names.dictionary.to_pylist()]
        return pa.array(are_scored, pa.bool_()).take(names.indices)

    def score(self, function: Function, columns: list[pa.ChunkedArray]) -> pa.Array:
        """The results of a chunk as JSON. columns: the models' names, the rows, and the struct of options."""
        try:
            return self._score(function, *map(one_chunk, columns))
        except BaseException as error:
            self._evaluator.statement.note_cause(error)
            raise

    def _is_scored(self, name: str | None) -> bool:
        runtime = self._evaluator.runtime
        version = None if name is None else runtime.find_model(name)
        return version is not None and runtime.scores_directly(version)

    def _score(self, function: Function, models: pa.Array, rows: pa.Array, options: pa.Array) -> pa.Array:
        fields = struct_columns(options)
        metadata = take_metadata(fields)
        mode, job = self._evaluator.mode, self._evaluator.job
        names = models.unique().to_pylist()
        versions = {name: self._evaluator.find_version(function, name, metadata) for name in names}
        if mode.stats is not None:
            mode.stats.count_scored(metadata.site, function.name, len(rows), versions.values())
        if mode.stats is not None or isinstance(mode.on_miss, Null):
            return pa.nulls(len(rows), pa.string())
        results = pa.nulls(len(rows), pa.string())
        for name, version in versions.items():
            wanted = pc.and_(pc.equal(models, name), rows.is_valid())
            if not pc.any(wanted).as_py():
                continue
            is_whole = len(names) == 1 and not rows.null_count
            chosen = rows if is_whole else rows.filter(wanted)
            scored = self._results(function, version, chosen)
            job.counts.count_scored(function.name, str(version), len(chosen), len(scored.errors))
            if scored.errors:
                on_error = fields["on_error"].filter(wanted).to_pylist() if "on_error" in fields else []
                self._note_failures(function, version, chosen, scored, on_error)
            results = scored.values if is_whole else pc.replace_with_mask(results, wanted, scored.values)
        return results

    def _results(self, function: Function, version: ModelVersion, rows: pa.Array) -> RowResults:
        assert version.scorer is not None
        if problem := mismatch(version.scorer, _sql_type(rows.type)):
            raise ModelUnusable(f"{function.name}: model {version} {problem}")
        settings = self._evaluator.runtime.settings.over(version.settings)
        engine = open_scorer(replace(version, settings=asdict(settings)))
        try:
            return engine.score(rows, self._evaluator.runner.cancel)
        except Cancelled:
            raise Interrupted from None

    def _note_failures(
        self, function: Function, version: ModelVersion, rows: pa.Array, scored: RowResults, on_error: list[Any]
    ) -> None:
        """Note the failed rows; raises unless all of them may be NULL."""
        job, failures = self._evaluator.job, self._evaluator.statement.failures
        default = self._evaluator.defaults.on_error
        fatal: list[Failure] = []
        for position, error in scored.errors.items():
            text = str(rows[position].as_py())
            failure = Failure(function.name, str(version), text[:EXCERPT], error)
            key = hashlib.blake2b(f"{version.fingerprint} {text}".encode("utf-8", "replace"), digest_size=KEY_BYTES)
            job.note_failure(key.digest(), failure, failures)
            if ((on_error[position] if on_error else None) or default) != "null":
                fatal.append(failure)
        job.check_error_threshold(failures, job.runtime.settings.over(version.settings))
        if fatal:
            raise RequestsFailed(summary(fatal, job.retry_hint, job.job_id, "the results of its model are not kept"))


@lru_cache(maxsize=256)
def _sql_type(arrow_type: pa.DataType) -> str:
    """The SQL type of what DuckDB hands over as an Arrow type."""
    with duckdb.connect() as connection:
        return str(connection.from_arrow(pa.table({"value": pa.nulls(0, arrow_type)})).types[0])
