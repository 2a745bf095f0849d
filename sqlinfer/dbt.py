"""A plug-in for dbt-duckdb: the functions on each of dbt's cursors, progress in dbt's log.

Knows dbt's hooks; statements run in phases, as on a connection of our own.
"""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.events.logging import AdapterLogger
from dbt_common.events.event_manager_client import add_callback_to_manager
from duckdb import DuckDBPyConnection

from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.inference.counters import JobCounters
from sqlinfer.inference.progress import Progress
from sqlinfer.sql.connect import make_runtime
from sqlinfer.sql.parsing.written_targets import written_target
from sqlinfer.sql.statement_prefetch import STATEMENT, StatementPrefetch
from sqlinfer.sql.storage import make_file, set_storage_version
from sqlinfer.sql.udf.registration import UdfRegistration
from sqlinfer.sql_text import quote_identifier, quote_literal
from sqlinfer.units import count, counted, duration

_CONFIG = ("model", "settings", "store", "udfs")
_EVERY_S = 10.0
_log = AdapterLogger("sqlinfer")
_python_log = logging.getLogger("sqlinfer")


class Plugin(BasePlugin):
    """`plugins: [{module: sqlinfer.dbt}]` in a profile; its config has the keywords of sqlinfer.register."""

    def initialize(self, plugin_config: Mapping[str, Any]) -> None:
        """Read the config; it holds the settings of the whole profile too."""
        self._duckdb_settings = dict(self.creds.settings or {}) if self.creds else {}
        config = {key: value for key, value in plugin_config.items() if key not in self._duckdb_settings}
        for key in config:
            if key not in _CONFIG:
                raise SqlinferError(f"profiles.yml: sqlinfer.dbt has no config {key}. {nearest(key, _CONFIG)}")
        self._runtime = make_runtime(
            config.get("model"), config.get("store", True), config.get("udfs"), config.get("settings")
        )
        self._runtime.advise("model: NAME in the plug-in's config in profiles.yml")
        self._runtime.retain()  # it outlives the connections, which dbt closes one by one
        self._evaluators: weakref.WeakSet[StatementPrefetch] = weakref.WeakSet()
        self._connections: weakref.WeakSet[DuckDBPyConnection] = weakref.WeakSet()
        atexit.register(self._close)
        _log_to_dbt()

    def update_connection_config(self, creds: DuckDBCredentials, config: dict[str, Any]) -> None:
        """Make the database's file as sqlinfer makes files: the DuckDB shell reads it."""
        make_file(creds.path, config)

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Listen whether dbt cancels; it forgets who listens with each run."""
        set_storage_version(conn, (self.creds and self.creds.config_options) or {})
        self._connections.add(conn)
        add_callback_to_manager(self._hear)

    def configure_cursor(self, cursor: DuckDBPyConnection) -> None:
        """Put the functions on a cursor; they go with it."""
        evaluator = StatementPrefetch(partial(self._other, weakref.ref(cursor)), self._runtime, _LogObserver())
        self._connections.add(cursor)
        self._evaluators.add(evaluator)
        UdfRegistration(cursor, evaluator, STATEMENT)

    def _other(self, of: Callable[[], DuckDBPyConnection | None]) -> DuckDBPyConnection:
        """A further cursor, set as dbt-duckdb sets each."""
        cursor = of()
        assert cursor is not None  # it runs a statement just now
        other = cursor.cursor()
        for name, value in self._duckdb_settings.items():
            other.execute(f"SET {quote_identifier(name)} = {quote_literal(str(value))}")
        return other

    def _hear(self, event: Any) -> None:
        """Stop computing when dbt cancels: it cannot end a function that runs."""
        if event.info.name == "LogCancelLine":
            for evaluator in list(self._evaluators):
                evaluator.interrupt()

    def _close(self) -> None:
        """DuckDB prints a report of leaks at exit for what dbt leaves open, and for what a log leads to."""
        for handler in [h for h in _python_log.handlers if isinstance(h, _ToDbt)]:
            _python_log.removeHandler(handler)
        for connection in list(self._connections):
            connection.close()
        self._runtime.store.close()


class _LogObserver:
    """Says in dbt's log how far statements are."""

    def started(self, statement: str) -> Callable[[JobCounters], None]:
        name = _name(statement)
        return Progress(lambda line: _log.info(f"{name}: {line}"), _EVERY_S, is_late=True)

    def finished(self, statement: str, counts: JobCounters) -> None:
        if counts.requests:
            _log.info(
                f"{_name(statement)}: {count(counts.rows, 'row')}, {counted(counts)}, in {duration(counts.seconds)}"
            )


def _name(statement: str) -> str:
    """What to call a statement: the model that it writes."""
    table = written_target(statement)
    if table:
        return table.rpartition(".")[2].strip('"').removesuffix("__dbt_tmp")
    return "a test" if "dbt_internal_test" in statement else "a query"


class _ToDbt(logging.Handler):
    """Hands what the package logs to dbt's log."""

    def emit(self, record: logging.LogRecord) -> None:
        say = _log.warning if record.levelno >= logging.WARNING else _log.info
        say(record.getMessage())


def _log_to_dbt() -> None:
    if not any(isinstance(handler, _ToDbt) for handler in _python_log.handlers):
        _python_log.addHandler(_ToDbt())
        _python_log.propagate = False
