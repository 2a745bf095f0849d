"""Rows as checked arguments, and requests as questions: the session adds parameters, model and key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlinfer.functions import Function
from sqlinfer.functions.call_options import Options, read_options
from sqlinfer.inference.keyed_request import KeyedRequest, Route
from sqlinfer.sql.udf.field_order import Names, order_key, reorder_fields
from sqlinfer.store import KEY_BYTES, AnswerKeys
from sqlinfer.types import AnyRequest, Generate, Parameters

FindOrigin = Callable[[Function, str | None, str], Route]
FindOrder = Callable[[bytes], Names | None]


@dataclass(slots=True)
class BoundArguments:
    """What a row says: the function's own arguments by name, those that are NULL left out, and the common options."""

    arguments: dict[str, Any]
    options: Options


class RequestBuilder:
    """Makes the questions of one function; what does not change from row to row is worked out once."""

    def __init__(
        self,
        find_origin: FindOrigin,
        function: Function,
        option_names: tuple[str, ...],
        defaults: Options | None = None,
        find_order: FindOrder = lambda _: None,
    ) -> None:
        self._find_origin = find_origin
        self._find_order = lru_cache(maxsize=64)(find_order)
        self._defaults = defaults or Options()
        self.function = function
        self._names = option_names
        self._arguments = function.arguments
        self._options: dict[str, Options] = {}
        self._last: _Shared | None = None

    def on_error(self, row: tuple[Any, ...]) -> Any:
        """What a row says of failures, before it is checked; the default if it says nothing."""
        said = dict(zip(self._names, row[len(self._arguments) :], strict=True)).get("on_error")
        return self._defaults.on_error if said is None else said

    def given(self, row: tuple[Any, ...]) -> BoundArguments | None:
        """A row checked: arguments, then options. None if an argument without a default is NULL."""
        given: dict[str, Any] = {}
        options = self._read_options(row[len(self._arguments) :]) if self._names else self._defaults
        for argument, value in zip(self._arguments, row, strict=False):
            if value is not None:
                fits = type(value) is argument.python_type
                given[argument.name] = value if fits else argument.check(value, self.function.name)
            elif argument.required:
                return None
        return BoundArguments(given, options)

    def of(self, asked: AnyRequest, given: BoundArguments, step: int = 1) -> KeyedRequest:
        """The question of a request that a row makes."""
        shared, options = self._last, given.options
        model = given.arguments.get("model", options.model)
        if shared is None or not shared.holds(asked, options, model):
            shared = self._last = self._share(asked, options, model)
        key = shared.keys(asked, shared.parameters)
        question = KeyedRequest(asked, shared.parameters, key, shared.origin, step)
        if isinstance(asked, Generate) and asked.reorder:
            self._put_in_order(question, shared)
        return question

    def _put_in_order(self, question: KeyedRequest, shared: _Shared) -> None:
        """Ask the columns in the order that was chosen; until then the question has a key without answer."""
        key = order_key(shared.keys, question.draft, shared.parameters)
        names = self._find_order(key)
        if names is not None:
            reorder_fields(question, names)
        else:
            question.order_key = key
            question.key = hashlib.blake2b(question.key, digest_size=KEY_BYTES, key=key).digest()

    def _share(self, asked: AnyRequest, options: Options, model: str | None) -> _Shared:
        """The parameters that hold are those of the call, then the function's, then the model's registration."""
        origin = self._find_origin(self.function, model, asked.task)
        parameters = options.parameters.over(asked.parameters).over(origin.version.parameters)
        keys = AnswerKeys(origin.version.fingerprint, self.function.answer_hash)
        return _Shared(asked.parameters, asked.task, options, model, origin, parameters, keys)

    def _read_options(self, values: tuple[Any, ...]) -> Options:
        identity = repr(values)
        options = self._options.get(identity)
        if options is None:
            options = read_options(dict(zip(self._names, values, strict=True)), self.function.name, self._defaults)
            self._options[identity] = options
        return options


@dataclass(frozen=True, slots=True)
class _Shared:
    """What rows with the same settings share, so that it is found once and not for each row."""

    asked: Parameters
    task: str
    options: Options
    model: str | None
    origin: Route
    parameters: Parameters
    keys: AnswerKeys

    def holds(self, asked: AnyRequest, options: Options, model: str | None) -> bool:
        same = asked.parameters is self.asked or asked.parameters == self.asked
        return same and options is self.options and asked.task == self.task and model == self.model


NO_ARGUMENTS = BoundArguments({}, Options())
