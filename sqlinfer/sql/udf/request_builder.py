"""Rows as checked arguments, and the requests of a function with parameters, model and key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlinfer.functions import Argument, Function
from sqlinfer.functions.call_options import Options, read_options
from sqlinfer.inference.keyed_request import KeyedRequest, Route
from sqlinfer.sql.udf.field_order import FieldNames, order_key, reorder_fields
from sqlinfer.store import KEY_BYTES, AnswerKeys
from sqlinfer.types import AnyRequest, Generate, Parameters, Predict

FindRoute = Callable[[Function, str | None, str], Route]
FindOrder = Callable[[bytes], FieldNames | None]


@dataclass(slots=True)
class BoundArguments:
    """The values of a row."""

    arguments: dict[str, Any]
    """The function's own, by name; those that are NULL are left out."""
    options: Options
    """Those that all functions have."""


class RequestBuilder:
    """Builds the requests of one function; what does not change from row to row is worked out once."""

    def __init__(
        self,
        find_route: FindRoute,
        function: Function,
        option_names: tuple[str, ...],
        defaults: Options | None = None,
        find_order: FindOrder = lambda _: None,
    ) -> None:
        self._find_route = find_route
        self._find_order = lru_cache(maxsize=64)(find_order)
        self._defaults = defaults or Options()
        self.function = function
        self._names = option_names
        self._arguments = function.arguments
        self._options: dict[str, Options] = {}
        self._last_checked: dict[str, tuple[Any, Any]] = {}
        self._last: _SharedSettings | None = None

    def on_error(self, row: tuple[Any, ...]) -> Any:
        """The on_error of a row, before it is checked."""
        on_error = dict(zip(self._names, row[len(self._arguments) :], strict=True)).get("on_error")
        return self._defaults.on_error if on_error is None else on_error

    def bind(self, row: tuple[Any, ...]) -> BoundArguments | None:
        """A row checked: arguments, then options. None if an argument without a default is NULL."""
        arguments: dict[str, Any] = {}
        options = self._read_options(row[len(self._arguments) :]) if self._names else self._defaults
        for argument, value in zip(self._arguments, row, strict=False):
            if value is not None:
                arguments[argument.name] = self._checked(argument, value)
            elif argument.required:
                return None
        return BoundArguments(arguments, options)

    def _checked(self, argument: Argument, value: Any) -> Any:
        """A value as the author wants it. A constant is the same object in each row of a chunk, and is checked once."""
        if type(value) is argument.python_type:
            return value
        last, checked = self._last_checked.get(argument.name, (None, None))
        if last is not value:
            checked = argument.check(value, self.function.name)
            self._last_checked[argument.name] = (value, checked)
        return checked

    def build(self, draft: AnyRequest, bound: BoundArguments, step: int = 1) -> KeyedRequest:
        """The request of a row, as the function drafted it."""
        shared, options = self._last, bound.options
        model = bound.arguments.get("model", options.model)
        if shared is None or not shared.holds(draft, options, model):
            shared = self._last = self._share(draft, options, model)
        if isinstance(draft, Predict):
            draft = draft.for_version(shared.route.version)
        key = shared.keys(draft, shared.parameters)
        request = KeyedRequest(draft, shared.parameters, key, shared.route, step)
        if isinstance(draft, Generate) and draft.reorder:
            self._put_in_order(request, shared)
        return request

    def _put_in_order(self, request: KeyedRequest, shared: _SharedSettings) -> None:
        """Put the fields in the order that was chosen; until then the request has a key without answer."""
        key = order_key(shared.keys, request.draft, shared.parameters)
        names = self._find_order(key)
        if names is not None:
            reorder_fields(request, names)
        else:
            request.defer(key, hashlib.blake2b(request.key, digest_size=KEY_BYTES, key=key).digest())

    def _share(self, draft: AnyRequest, options: Options, model: str | None) -> _SharedSettings:
        """The parameters that hold are those of the call, then the function's, then the model's registration."""
        route = self._find_route(self.function, model, draft.task)
        parameters = options.parameters.over(draft.parameters).over(route.version.parameters)
        keys = AnswerKeys(route.version.fingerprint, self.function.answer_hash)
        return _SharedSettings(draft.parameters, draft.task, options, model, route, parameters, keys)

    def _read_options(self, values: tuple[Any, ...]) -> Options:
        identity = repr(values)
        options = self._options.get(identity)
        if options is None:
            options = read_options(dict(zip(self._names, values, strict=True)), self.function.name, self._defaults)
            self._options[identity] = options
        return options


@dataclass(frozen=True, slots=True)
class _SharedSettings:
    """What rows with the same settings share: resolved once, not for each row.

    draft_parameters, task, options, model: the settings, as of the draft and of the call.
    route: function and model version.
    parameters: those that hold.
    keys: hash the requests of the route.
    """

    draft_parameters: Parameters
    task: str
    options: Options
    model: str | None
    route: Route
    parameters: Parameters
    keys: AnswerKeys

    def holds(self, draft: AnyRequest, options: Options, model: str | None) -> bool:
        same = draft.parameters is self.draft_parameters or draft.parameters == self.draft_parameters
        return same and options is self.options and draft.task == self.task and model == self.model


NO_ARGUMENTS = BoundArguments({}, Options())
