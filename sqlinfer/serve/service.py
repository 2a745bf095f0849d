"""The service that a server offers: messages in, messages out. Knows no socket.

call CONTEXT FUNCTION (OPTIONS ARGUMENTS)*   ok and a value a row; options NULL are those of the row before
macros CONTEXT ADDRESS                       ok and the SQL that makes the functions known to a DuckDB
warm CONTEXT NAME                            ok and a JSON object, the WarmModel, once the model is loaded
hello                                        ok, the version, the process id, and whether it ends by itself
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from threading import Event, Lock
from typing import Any

from sqlinfer import __version__
from sqlinfer.backends import warm
from sqlinfer.errors import EXCERPT, RequestsFailed, SqlinferError, nearest
from sqlinfer.functions import Function, load_functions
from sqlinfer.inference.runner import JobRunner
from sqlinfer.inference.runtime import Runtime
from sqlinfer.serve.context import Context, read_context
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
_MOST_CONTEXTS = 64
"""What the least recently used of them loaded is forgotten."""
REMEMBERED_S = 1.0
"""How long a failed call of one row fails again at once: DuckDB tries a call of constants many times while it plans."""


class Service:
    """What all connections of a server share. runtime: with the server's own model and functions. ends_itself: whether
    the server does when nobody is connected."""

    def __init__(self, runtime: Runtime, ends_itself: bool = False) -> None:
        self.runtime = runtime
        self.ends_itself = ends_itself
        self.queue = recorded_queue(runtime, _LABEL)
        self._runtime = lru_cache(_MOST_CONTEXTS)(self._make_runtime)
        self._lock = Lock()

    def runtime_of(self, text: str, is_local: bool) -> Runtime:
        """What answers the calls of a context; functions are loaded once for each."""
        context = read_context(text)
        if context.udfs is not None and not is_local:
            raise SqlinferError("functions in folders of its own are for clients on the server's machine")
        with self._lock:
            return self._runtime(context)

    def _make_runtime(self, context: Context) -> Runtime:
        functions = self.runtime.functions
        if context.udfs is not None:
            functions = load_functions(*map(Path, context.udfs))
        runtime = Runtime(self.runtime.store, functions, context.model or self.runtime.model, self.runtime.settings)
        runtime.advise("sqlinfer shell --model NAME")
        return runtime

    def close(self) -> None:
        """Stop what runs; finished answers are kept."""
        self.queue.close()


class Dispatcher:
    """Answers the messages of one connection. cancel: set when the peer closes it. is_local: it came through the Unix
    socket."""

    def __init__(self, service: Service, cancel: Event, is_local: bool) -> None:
        self._service = service
        self._cancel = cancel
        self._is_local = is_local
        self._evaluator = lru_cache(_MOST_CONTEXTS)(self._make_evaluator)
        self._failed: tuple[Message, str, float] | None = None
        self._commands: dict[str, Callable[..., list[str | None]]] = {
            "call": self._call,
            "macros": self._macros,
            "warm": self._warm,
            "hello": self._hello,
        }

    def dispatch(self, message: Message) -> list[str | None]:
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
        return [__version__, str(os.getpid()), str(self._service.ends_itself).lower()]

    def _warm(self, context: str, name: str) -> list[str | None]:
        runtime = self._service.runtime_of(context, self._is_local)
        return [json.dumps(asdict(warm(runtime.store.registry.get(name), runtime.settings, self._cancel)))]

    def _macros(self, context: str, address: str) -> list[str | None]:
        return [macros(self._service.runtime_of(context, self._is_local).functions, address, context)]

    def _call(self, context: str, name: str, *cells: str | None) -> list[str | None]:
        if name in TABLES:
            return [as_json(_plain(table_rows(self._service.runtime.store, name)))] * (len(cells) // 2)
        evaluator = self._evaluator(context or "")
        function = evaluator.runtime.functions[name]
        rows = _CallRows(function, cells)
        values = evaluator.values(
            function, rows.option_names, rows.distinct, CallMetadata(is_constant=rows.is_constant)
        )
        texts = [_text(value, function.returns) for value in values]
        return [texts[index] for index in rows.index]

    def _make_evaluator(self, context: str) -> CallEvaluator:
        runtime = self._service.runtime_of(context, self._is_local)
        runner = JobRunner(runtime, self._cancel, retry_hint="run the same statement again")
        return CallEvaluator(runner, Queue(self._service.queue, self._cancel))


class _CallRows:
    """The rows of a call as values. distinct: arguments, then the options of option_names. index: for each row the
    position of its distinct row. is_constant: all of them name the same model."""

    def __init__(self, function: Function, cells: Sequence[str | None]) -> None:
        if len(cells) % 2:
            raise SqlinferError("the last row of the message call has OPTIONS and no ARGUMENTS")
        positions: dict[tuple[str, str], int] = {}
        self.index = []
        options = "{}"
        for at in range(0, len(cells), 2):
            options = cells[at] or options
            self.index.append(positions.setdefault((options, cells[at + 1] or "[]"), len(positions)))
        options_of = {text: _read_json(text, dict) for text in {options for options, _ in positions}}
        used = {name for each in options_of.values() for name, value in each.items() if value is not None}
        self.is_constant = any(each.get(CONSTANT) for each in options_of.values())
        self.option_names = tuple(name for name in function.options if name in used)
        tails = {text: tuple(each.get(name) for name in self.option_names) for text, each in options_of.items()}
        parsed = [_read_json(arguments, list) for _, arguments in positions]
        if any(len(arguments) != len(function.arguments) for arguments in parsed):
            raise SqlinferError(f"each row of a call of {function.signature} has {len(function.arguments)} ARGUMENTS")
        self.distinct = [
            (*arguments, *tails[options]) for arguments, (options, _) in zip(parsed, positions, strict=True)
        ]


def _read_json(text: str, json_type: type) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, json_type):
        wanted = "object, the OPTIONS" if json_type is dict else "array, the ARGUMENTS"
        raise SqlinferError(f"the message call needs a JSON {wanted} of a row, not {text[:EXCERPT]!r}")
    return value


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
