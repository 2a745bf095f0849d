"""The record of what ran: statements, counts, errors of rows, speed of models.

Knows no SQL of the user's beyond its text.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from sqlinfer.errors import EXCERPT, SqlinferError
from sqlinfer.redact import redact, redact_all
from sqlinfer.store.database import Database, printable
from sqlinfer.store.process import is_alive, process_identity

JobState = Literal["running", "done", "failed", "stopped", "interrupted", "killed"]
_COUNTS = ("rows", "requests", "known", "generated", "failed", "prompt_tokens", "completion_tokens", "seconds")
_DETAILS = ("expected", "batch_fill", "phases", "peak_memory_bytes", "peak_device_bytes")


@dataclass(frozen=True, slots=True)
class Job:
    """One execution of a statement.

    state: "stopped" is a job that came to its budget or error threshold, "killed" a running one whose process is gone.
    started, ended: unix seconds. models: name and version of each model. known, generated, failed: requests that were
    answered before, now, and not. expected: requests that will have ended when all that is known to be asked is.
    batch_fill: how full batches were, 0..1. phases: seconds of probe, infer and replay.
    """

    job_id: int
    statement: str
    state: JobState
    started: float
    ended: float | None
    pid: int
    models: tuple[str, ...]
    settings: Mapping[str, Any]
    rows: int
    requests: int
    known: int
    generated: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    error: str | None
    expected: int
    batch_fill: float
    phases: Mapping[str, float]
    peak_memory_bytes: int
    peak_device_bytes: int

    @property
    def source(self) -> str:
        """What it ran: a node of a project, or SQL files; empty for a statement of a session."""
        files = self.settings.get("files") or ()
        return str(self.settings.get("node") or ", ".join(map(str, files)))


@dataclass(frozen=True, slots=True)
class RowError:
    """A request of a job that got no answer; excerpt: the beginning of its text."""

    key: bytes
    function: str
    model: str
    excerpt: str
    message: str
    job_id: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one function asked one model version in one job."""

    job_id: int
    function: str
    model: str
    requests: int
    failed: int
    prompt_tokens: int
    completion_tokens: int


_JOB_COLUMNS = ", ".join(f.name for f in fields(Job))


class Jobs:
    """Records jobs, with *** for secrets in their texts. keep_texts=False leaves the excerpts of failed rows out."""

    def __init__(self, database: Database, keep_texts: bool = True) -> None:
        self._database = database
        self._keep_texts = keep_texts

    def start(self, statement: str, models: Sequence[str] = (), settings: Mapping[str, Any] | None = None) -> int:
        """Record a job of this process as running; its id."""
        now = time.time()
        with self._database.writing() as connection:
            job_id = connection.execute(
                "INSERT INTO jobs (statement, state, started, touched, pid, process, models, settings) "
                "VALUES (?, 'running', ?, ?, ?, ?, ?, ?)",
                (
                    _kept(statement),
                    now,
                    now,
                    os.getpid(),
                    process_identity(),
                    json.dumps(list(models)),
                    json.dumps(redact_all(settings or {}), default=str),
                ),
            ).lastrowid
        return int(job_id or 0)

    def update(self, job_id: int, **counts: Any) -> None:
        """Set counts of a running job: rows, requests, known, generated, failed, tokens, seconds, and details."""
        self._set(job_id, counts)

    def finish(
        self, job_id: int, state: JobState, error: str | None = None, models: Sequence[str] = (), **counts: Any
    ) -> None:
        """Record the end of a job with its last counts and the models it used; error: the message of a failed one."""
        if state not in ("done", "failed", "stopped", "interrupted"):
            raise ValueError(f"a job ends done, failed, stopped or interrupted, not {state}")
        _check_counts(counts)
        ending = {"state": state, "ended": time.time(), "error": error and _kept(error)}
        self._set(job_id, counts | ending | {"models": json.dumps(list(models))})

    def list(self, limit: int = 20) -> Sequence[Job]:
        """The last jobs, newest first."""
        return self._select("ORDER BY job_id DESC LIMIT ?", limit)

    def show(self, job_id: int) -> Job:
        """The job of this id; SqlinferError if there is none."""
        jobs = self._select("WHERE job_id = ?", job_id)
        if not jobs:
            raise SqlinferError(f"There is no job {job_id}. `sqlinfer jobs list` shows the jobs.")
        return jobs[0]

    def add_errors(self, job_id: int, errors: Iterable[tuple[bytes, str, str, str, str]]) -> None:
        """Record failed requests: key, function, model, text (an excerpt is kept), message."""
        now = time.time()
        rows = [
            (job_id, key, function, model, _kept(text[:EXCERPT]) if self._keep_texts else "", _kept(message), now)
            for key, function, model, text, message in errors
        ]
        with self._database.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO errors VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def errors(self, job_id: int | None = None) -> Sequence[RowError]:
        """The failed requests of a job, or of all jobs."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT key, function, model, excerpt, message, job_id FROM errors WHERE job_id = coalesce(?, job_id) "
                "ORDER BY job_id, created, key",
                (job_id,),
            ).fetchall()
        return [RowError(*row) for row in rows]

    def add_usage(self, job_id: int, usages: Iterable[tuple[Any, ...]]) -> None:
        """Record what a job used: function, model, requests, failed, prompt_tokens, completion_tokens."""
        rows = [(job_id, *usage) for usage in usages]
        if rows:
            with self._database.writing() as connection:
                connection.executemany("INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def usage(self) -> Sequence[Usage]:
        """What all jobs used, in order of job, function and model."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM usage ORDER BY job_id, function, model").fetchall()
        return [Usage(*row) for row in rows]

    def failed_keys(self) -> frozenset[bytes]:
        """The keys of all requests that failed in some job."""
        with self._database.reading() as connection:
            return frozenset(key for (key,) in connection.execute("SELECT DISTINCT key FROM errors"))

    def clear(self) -> int:
        """Forget the jobs that have ended, with their errors; how many went."""
        ended = [(job.job_id,) for job in self.list(limit=-1) if job.state != "running"]
        with self._database.writing() as connection:
            connection.executemany("DELETE FROM jobs WHERE job_id = ?", ended)
        return len(ended)

    def record_speed(self, fingerprint: str, prompt_tokens: int, completion_tokens: int, seconds: float) -> None:
        """Record how quick a model was in one job."""
        if seconds <= 0:
            return
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO speeds (fingerprint, prompt_tokens, completion_tokens, seconds) VALUES (?, ?, ?, ?)",
                (fingerprint, prompt_tokens, completion_tokens, seconds),
            )

    def speed(self, fingerprint: str) -> tuple[float, float | None] | None:
        """Prompt and completion tokens a second over the model's last five jobs; None before the first, and for
        completion tokens before the first that wrote any."""
        with self._database.reading() as connection:
            prompt, completion, seconds, writing = connection.execute(
                "SELECT sum(prompt_tokens), sum(completion_tokens), sum(seconds), "
                "sum(seconds) FILTER (WHERE completion_tokens > 0) FROM (SELECT * FROM speeds "
                "WHERE fingerprint = ? ORDER BY speed_id DESC LIMIT 5)",
                (fingerprint,),
            ).fetchone()
        return (prompt / seconds, completion / writing if writing else None) if seconds else None

    def _set(self, job_id: int, values: Mapping[str, Any]) -> None:
        if "phases" in values:
            values = {**values, "phases": json.dumps(values["phases"])}
        named = ", ".join(f"{name} = ?" for name in (*values, "touched"))
        if not values.keys() & {"state"}:
            _check_counts(values)
        with self._database.writing() as connection:
            connection.execute(f"UPDATE jobs SET {named} WHERE job_id = ?", (*values.values(), time.time(), job_id))

    def _select(self, condition: str, value: int) -> Sequence[Job]:
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_JOB_COLUMNS}, process, touched FROM jobs {condition}", (value,)
            ).fetchall()
        return [_job(row) for row in rows]


def _kept(text: str) -> str:
    return printable(redact(text))


def _check_counts(counts: Mapping[str, Any]) -> None:
    unknown = counts.keys() - {*_COUNTS, *_DETAILS}
    if unknown:
        raise ValueError(f"a job has no count {sorted(unknown)[0]}; its counts are {', '.join(_COUNTS)}")


def _job(row: Sequence[Any]) -> Job:
    *columns, process, touched = row
    values = dict(zip((f.name for f in fields(Job)), columns, strict=True))
    values["models"] = tuple(json.loads(values["models"]))
    values["settings"] = json.loads(values["settings"])
    values["phases"] = json.loads(values["phases"])
    if values["state"] == "running" and not is_alive(values["pid"], process, touched):
        values["state"] = "killed"
    return Job(**values)
