"""What a server is asked, and what it answers: messages in, messages out. Knows no socket.

call CONTEXT FUNCTION (OPTIONS ARGUMENTS)*   ok and a value a row; options NULL are those of the row before
macros CONTEXT ADDRESS                       ok and the SQL that makes the functions known to a DuckDB
hello                                        ok, the version and the process id
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock
from typing import Any

from sqlinfer import __version__
from sqlinfer.errors import RequestsFailed, SqlinferError, nearest
from sqlinfer.functions import Function, load_functions
from sqlinfer.inference.runner import JobRunner
from sqlinfer.inference.runtime import Runtime
from sqlinfer.serve.context import read_context
from sqlinfer.serve.macros import macros
from sqlinfer.serve.wire import Message
from sqlinfer.sql.direct_mode import recorded_queue
from sqlinfer.sql.internal_names import CONSTANT
from sqlinfer.sql.udf.cache_misses import Queue
from sqlinfer.sql.udf.call import as_json
from sqlinfer.sql.udf.call_metadata import CallMetadata
from sqlinfer.sql.udf.evaluator import CallEvaluator
from sqlinfer.sql.udf.system_tables import TABLES, table_rows

_LABEL = "sqlinfer serve"
_ONE_ROW = 5
"""How many texts a call of one row is."""
REMEMBERED_S = 1.0
"""How long a failed call of one row fails again unasked: DuckDB tries a call of constants many times while it plans."""


class Calls:
    """What all connections of a server share. runtime: with the server's own model and functions."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.queue = recorded_queue(runtime, _LABEL)
        self._runtimes: dict[str, Runtime] = {}
        self._lock = Lock()

    def runtime_of(self, context: str, is_local: bool) -> Runtime:
        """What answers calls of a context; functions are loaded once for each."""
        with self._lock:
            if context not in self._runtimes:
                parsed = read_context(context)
                if parsed.udfs is not None and not is_local:
                    raise SqlinferError("functions in folders of its own are for clients on the server's machine")
                functions = (
                    self.runtime.functions if parsed.udfs is None else load_functions(*(Path(f) for f in parsed.udfs))
                )
                model = parsed.model or self.runtime.model
                self._runtimes[context] = Runtime(self.runtime.store, functions, model, self.runtime.settings)
            return self._runtimes[context]

    def close(self) -> None:
        """Stop what is asked; finished answers are kept."""
        self.queue.close()


class Caller:
    """One connection's calls. cancel: set when the other side hangs up. is_local: it came through the Unix socket."""

    def __init__(self, calls: Calls, cancel: Event, is_local: bool) -> None:
        self._calls = calls
        self._cancel = cancel
        self._is_local = is_local
        self._evaluators: dict[str, CallEvaluator] = {}
        self._failed: tuple[Message, str, float] | None = None
        self._commands: dict[str, Callable[..., list[str | None]]] = {
            "call": self._call,
            "macros": self._macros,
            "hello": self._hello,
        }

    def answer(self, message: Message) -> list[str | None]:
        """What a message is answered by, without the "ok" before it."""
        command = str(message[0]) if message else ""
        if command not in self._commands:
            raise SqlinferError(f"the server knows no message {command!r}. {nearest(command, self._commands)}")
        self._check_failed(message)
        try:
            return self._commands[command](*message[1:])
        except RequestsFailed as error:
            if len(message) == _ONE_ROW:
                self._failed = message, str(error), time.monotonic()
            raise
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # raised by the call itself
                raise SqlinferError(f"the message {command} has the wrong number of texts: {len(message)}") from error
            raise

    def _check_failed(self, message: Message) -> None:
        """Fail a call that has failed just now."""
        if self._failed is not None:
            failed, error, failed_s = self._failed
            if message == failed and time.monotonic() - failed_s < REMEMBERED_S:
                raise RequestsFailed(error)

    def _hello(self) -> list[str | None]:
        return [__version__, str(os.getpid())]

    def _macros(self, context: str, address: str) -> list[str | None]:
        return [macros(self._calls.runtime_of(context, self._is_local).functions, address, context)]

    def _call(self, context: str, name: str, *cells: str | None) -> list[str | None]:
        if name in TABLES:
            return [as_json(_plain(table_rows(self._calls.runtime.store, name)))] * (len(cells) // 2)
        evaluator = self._evaluator(context or "")
        function = evaluator.runtime.functions[name]
        rows = _Rows(function, cells)
        values = evaluator.values(
            function, rows.option_names, rows.distinct, CallMetadata(is_constant=rows.is_constant)
        )
        texts = [_text(value, function.returns) for value in values]
        return [texts[index] for index in rows.index]

    def _evaluator(self, context: str) -> CallEvaluator:
        if context not in self._evaluators:
            runtime = self._calls.runtime_of(context, self._is_local)
            runner = JobRunner(runtime, self._cancel, retry_hint="run the same statement again")
            self._evaluators[context] = CallEvaluator(runner, Queue(self._calls.queue, self._cancel))
        return self._evaluators[context]


class _Rows:
    """The rows of a call as values. distinct: arguments, then the options of option_names. index: for each row the
    position of its distinct row. is_constant: all of them name the same model."""

    def __init__(self, function: Function, cells: Sequence[str | None]) -> None:
        positions: dict[tuple[str, str], int] = {}
        self.index = []
        options = "{}"
        for at in range(0, len(cells), 2):
            options = cells[at] or options
            self.index.append(positions.setdefault((options, cells[at + 1] or "[]"), len(positions)))
        options_of = {text: json.loads(text) for text in {options for options, _ in positions}}
        used = {name for each in options_of.values() for name, value in each.items() if value is not None}
        self.is_constant = any(each.get(CONSTANT) for each in options_of.values())
        self.option_names = tuple(name for name in function.options if name in used)
        tails = {text: tuple(each.get(name) for name in self.option_names) for text, each in options_of.items()}
        parsed = json.loads(f"[{','.join(arguments for _, arguments in positions)}]")
        self.distinct = [
            (*arguments, *tails[options]) for arguments, (options, _) in zip(parsed, positions, strict=True)
        ]


def _text(value: Any, sql_type: str) -> str | None:
    """A value as the macro casts it."""
    if value is None or sql_type == "VARCHAR":
        return value if value is None else str(value)
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False, default=lambda array: array.tolist())


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with times as texts."""
    return [
        {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
        for row in rows
    ]
