"""What a SQL function is: its names, its signature, its SQL type, and the two halves `ask` and `read`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.sql_text import quote_literal
from sqlinfer.types import AnyValue, Columns, Parameters

OPTIONS = ("model", *Parameters.__dataclass_fields__, "on_error")
"""The named parameters that every function takes besides its own."""

RETURNS = "returns"
"""The named parameter of functions whose type depends on the call: the SQL type that a call has."""

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter of a SQL function.

    name: as in SQL.
    python_type: its annotation in the function's file.
    default: REQUIRED if it has none.
    """

    name: str
    python_type: Any
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def is_text(self) -> bool:
        """Whether it takes any type, and comes as a text."""
        return self.python_type in (str, Columns) or self.is_any_value or self.is_files

    @property
    def is_any_value(self) -> bool:
        """Whether it comes as an AnyValue."""
        return isinstance(self.python_type, type) and issubclass(self.python_type, AnyValue)

    @property
    def is_files(self) -> bool:
        """Whether it takes a BLOB or a list of them, and comes as a list of AnyValue."""
        return self.python_type in (list[AnyValue], list[AnyValue] | None)

    def check_constant(self, value: Any, function: str) -> Any:
        """The same as check, of a value as it is written: no macro has made a text of it."""
        if self.is_files:
            return [AnyValue.of(item) for item in (value if isinstance(value, list) else [value])]
        return self.check(str(value) if self.is_text else value, function)

    def check(self, value: Any, function: str) -> Any:
        """The value as the function's author wants it; an error names function, argument and value."""
        if self.is_any_value:
            return self.python_type(value)
        if self.is_files and isinstance(value, list):
            return [AnyValue(item) for item in value if item is not None]
        if _fits(value, self.python_type):
            return float(value) if self.python_type is float else value
        raise SqlinferError(f"{function}: {self.name} must be {_words(self.python_type)}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Function:
    """A SQL function: names, signature, SQL type of its value, and the two halves `ask` and `read`.

    name: its SQL name, in lower case.
    aliases: further SQL names.
    arguments: its parameters, in order.
    returns: the SQL type of its value; VARCHAR if type_of is set.
    help: the first line of the docstring.
    file_hash: SHA-256 of the file and its helpers, in hex.
    answer_hash: part of the key of every answer: a hash of the file without comments and `read`, and for built-in
        functions one that outlives edits.
    path: its file.
    ask: one row's arguments -> a request, Steps or, if is_computed, the value.
    read: a request's output -> the value; None: the output is the value.
    is_computed: it needs no model.
    is_in_steps: it asks in Steps.
    is_aggregate: its first argument is the list of a group's texts.
    type_of: some of the arguments, by name -> SQL type, where that depends on the call; the value is then JSON text.
    check: raises SqlinferError for arguments, by name, that make no valid request; constants are checked first.
    is_vector: its value is an embedding.
    scored: the argument whose value is all that a model gets whose results are not kept; "" if there is none.
    """

    name: str
    aliases: tuple[str, ...]
    arguments: tuple[Argument, ...]
    returns: str
    help: str
    file_hash: str
    answer_hash: str
    path: Path
    ask: Callable[..., Any]
    read: Callable[[Any], Any] | None
    is_computed: bool = False
    is_in_steps: bool = False
    is_aggregate: bool = False
    type_of: Callable[..., str] | None = None
    check: Callable[..., None] | None = None
    is_vector: bool = False
    scored: str = ""

    @property
    def is_text(self) -> bool:
        """Whether its value is the text that a model wrote, as it is kept."""
        reads = self.read is not None or self.is_in_steps or self.is_computed or self.type_of is not None
        return self.returns == "VARCHAR" and not reads

    @property
    def signature(self) -> str:
        """As SQL: `summarize(text, max_words := 50)`."""
        parts = [a.name if a.required else f"{a.name} := {quote_literal(a.default)}" for a in self.arguments]
        return f"{self.name}({', '.join(parts)})"

    @property
    def list_names(self) -> dict[str, str]:
        """For each name of an aggregate that of the same function over a list: `ai_agg_list(list(x), ..)`."""
        return {name: f"{name}_list" for name in (self.name, *self.aliases)} if self.is_aggregate else {}

    @property
    def options(self) -> tuple[str, ...]:
        """The common named parameters that this function takes besides its own arguments."""
        own = {argument.name for argument in self.arguments}
        return tuple(option for option in OPTIONS if option not in own)


class Functions(Mapping[str, Function]):
    """Functions by SQL name, aliases too; names are lower case."""

    def __init__(self, functions: Iterable[Function]) -> None:
        self._by_name: dict[str, Function] = {}
        for function in functions:
            for name in (function.name, *function.aliases, *function.list_names.values()):
                if name in self._by_name:
                    other = self._by_name[name]
                    raise SqlinferError(f"two functions are named {name}: {other.path} and {function.path}; rename one")
                self._by_name[name] = function

    @property
    def list_names(self) -> dict[str, str]:
        """For each aggregate the name of the same function over a list."""
        return {name: under for function in self._by_name.values() for name, under in function.list_names.items()}

    def __getitem__(self, name: str) -> Function:
        try:
            return self._by_name[name.lower()]
        except KeyError:
            raise SqlinferError(f"no function is named {name}. {nearest(name, self._by_name)}") from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)


def _fits(value: Any, python_type: Any) -> bool:
    origin = get_origin(python_type)
    if origin is Literal:
        return value in get_args(python_type)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, get_args(python_type)[0]) for item in value)
    if python_type is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if python_type is float:
        return not isinstance(value, bool | str) and hasattr(value, "__float__")
    return isinstance(value, python_type) if isinstance(python_type, type) else True


def _words(python_type: Any) -> str:
    if get_origin(python_type) is Literal:
        return " or ".join(repr(choice) for choice in get_args(python_type))
    if get_origin(python_type) is list:
        return f"a list, each of its items {_words(get_args(python_type)[0])}"
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}.get(
        python_type, str(python_type)
    )
