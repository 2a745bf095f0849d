"""The two ways in: a session of our own, or our functions on a plain DuckDB connection."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import duckdb

from sqlinfer.config.folders import PROJECT_FILE, project_folder
from sqlinfer.config.job_settings import SettingsLayers, read_settings
from sqlinfer.config.project_file import read_project_file
from sqlinfer.engine import BUILTINS, DEFAULTS
from sqlinfer.functions import load_functions
from sqlinfer.inference.job import ShowProgress
from sqlinfer.inference.runner import JobRunner
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.direct_mode import engine_queue
from sqlinfer.sql.session import Session
from sqlinfer.sql.storage import open_database
from sqlinfer.sql.udf.cache_misses import Queue
from sqlinfer.sql.udf.evaluator import CallEvaluator
from sqlinfer.sql.udf.registration import UdfRegistration
from sqlinfer.store import Store, function_folders


def connect(  # noqa: PLR0913 - what a user may say of a session, by keyword
    path: str | PathLike[str] = ":memory:",
    *,
    read_only: bool = False,
    config: dict[str, Any] | None = None,
    model: str | None = None,
    store: bool = True,
    udfs: Sequence[str | PathLike[str]] | None = None,
    allow_download: bool = False,
    settings: Mapping[str, Any] | None = None,
    show_progress: ShowProgress | None = None,
) -> Session:
    """Open a database with AI functions; each distinct request of a statement is computed once, in full batches.

    path: a DuckDB file or ":memory:"; a new file is one that DuckDB 1.5 reads too, unless config names another
    `storage_compatibility_version`. model: answers calls that name none; None is the project file's. store: False
    keeps no answer after the session. udfs: folders of the user's own functions; None means udfs/ here and in the
    project. allow_download: whether SQL that names a hub id fetches it; otherwise `sqlinfer models pull` does.
    settings: of the jobs, by the names of JobSettings; they win over those of models and of the project file.
    show_progress: called with the counts of a job after each completion; None shows a line in a notebook.
    """
    runtime = make_runtime(model, store, udfs, settings, allow_download)
    try:
        connection = open_database(str(path), read_only, config or {})
    except duckdb.Error:
        runtime.store.close()
        raise
    return Session(connection, runtime, show_progress)


class Registration:
    """Our functions on a plain connection; close it to take them away, before the connection or after."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, runtime: Runtime) -> None:
        self.runtime = runtime
        self._queue = engine_queue(runtime)
        runner = JobRunner(runtime)
        self._binding = UdfRegistration(connection, CallEvaluator(runner, Queue(self._queue, runner.cancel)))
        atexit.register(self.close)

    def close(self) -> None:
        """Take the functions away; calls that run are stopped."""
        atexit.unregister(self.close)
        self._queue.close()
        self._binding.close()
        self.runtime.store.close()

    def __enter__(self) -> Registration:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def register(
    connection: duckdb.DuckDBPyConnection,
    *,
    model: str | None = None,
    store: bool = True,
    udfs: Sequence[str | PathLike[str]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Registration:
    """Put the functions on a plain DuckDB connection: each chunk of 2,048 rows is computed as DuckDB brings it.

    Named parameters belong to this one connection; register its cursors too. The database file stays open in this
    process until the registration is closed.
    """
    return Registration(connection, make_runtime(model, store, udfs, settings))


def make_runtime(
    model: str | None,
    store: bool,
    udfs: Sequence[str | PathLike[str]] | None,
    settings: Mapping[str, Any] | None,
    allow_download: bool = False,
) -> Runtime:
    """What sessions share, opened as `connect` says."""
    project = project_folder()
    config = read_project_file(project / PROJECT_FILE if project else None)
    settings_layers = SettingsLayers(config.settings, read_settings(settings or {}, "settings"))
    folders = function_folders() if udfs is None else [Path(folder) for folder in udfs]
    functions = load_functions(*folders)
    opened = Store(keep_answers=store, builtins=BUILTINS, defaults=DEFAULTS, allow_download=allow_download)
    return Runtime(opened, functions, model or config.model, settings_layers)
