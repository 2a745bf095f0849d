"""Rows of a chunk as questions: the function's author makes the request, the session adds parameters and key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlinfer.errors import SqlinferError
from sqlinfer.functions import Function
from sqlinfer.sql.options import Options, read_options
from sqlinfer.sql.pending import Origin
from sqlinfer.store import answer_key
from sqlinfer.types import Parameters, Request

FindOrigin = Callable[[Function, str | None, str], Origin]


@dataclass(slots=True)
class Question:
    """A request under its key, who asks whom, and what happens when it fails ('fail' or 'null')."""

    request: Request
    origin: Origin
    on_error: str


class Questions:
    """Makes the questions of one function; what does not change from row to row is worked out once."""

    def __init__(self, find_origin: FindOrigin, function: Function, option_names: tuple[str, ...]) -> None:
        self._find_origin = find_origin
        self._function = function
        self._names = option_names
        self._num_arguments = len(function.arguments)
        self._options: dict[str, Options] = {}
        self._parameters: dict[Any, Parameters] = {}

    def of(self, row: tuple[Any, ...]) -> Question | None:
        """The question of one row: arguments, then options. None if an argument without a default is NULL."""
        function = self._function
        arguments: dict[str, Any] = {}
        options = self._read_options(row[self._num_arguments :])
        for argument, value in zip(function.arguments, row, strict=False):
            if value is not None:
                fits = type(value) is argument.kind
                arguments[argument.name] = value if fits else argument.check(value, function.name)
            elif argument.required:
                return None
        request = function.ask(**arguments)
        if not isinstance(request, Request):
            raise SqlinferError(f"{function.path}: {function.name} must return a Request, not {type(request).__name__}")
        origin = self._find_origin(function, arguments.get("model", options.model), request.task)
        return Question(self._complete(request, options, origin), origin, options.on_error)

    def _complete(self, request: Request, options: Options, origin: Origin) -> Request:
        said = (options.parameters, request.parameters, origin.version.fingerprint)
        parameters = self._parameters.get(said)
        if parameters is None:
            parameters = options.parameters.over(request.parameters).over(origin.version.parameters)
            self._parameters[said] = parameters
        complete = Request(request.text, request.instruction, request.task, parameters, request.overflow)
        key = answer_key(origin.version.fingerprint, origin.function.file_hash, complete)
        return Request(request.text, request.instruction, request.task, parameters, request.overflow, key)

    def _read_options(self, values: tuple[Any, ...]) -> Options:
        identity = repr(values) if values else ""
        options = self._options.get(identity)
        if options is None:
            options = read_options(dict(zip(self._names, values, strict=True)), self._function.name)
            self._options[identity] = options
        return options
