"""The named parameters that every function takes, checked: `temperature := 0.5`, `on_error := 'null'`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlinfer.errors import SqlinferError, nearest
from sqlinfer.types import Parameters

ON_ERROR = ("fail", "null")
_LEAST = {"max_tokens": 1, "min_tokens": 0, "top_k": 0, "num_beams": 1, "seed": 0}


@dataclass(frozen=True, slots=True)
class Options:
    """The common named parameters of a call.

    model: a name as written; None for the default model.
    parameters: how the answer is generated.
    on_error: "fail" or "null".
    """

    model: str | None = None
    parameters: Parameters = field(default_factory=Parameters)
    on_error: str = "fail"


def read_options(options: Mapping[str, Any], function: str, defaults: Options) -> Options:
    """Check the options of one call; an error names the function, the parameter and the value. defaults: the model and
    the on_error of calls that say none."""
    values = {name: value for name, value in options.items() if value is not None}
    model = values.pop("model", defaults.model)
    on_error = values.pop("on_error", defaults.on_error)
    if model is not None and not isinstance(model, str):
        raise SqlinferError(f"{function}: model must be a text, not {model!r}")
    if on_error not in ON_ERROR:
        raise SqlinferError(f"{function}: on_error must be 'fail' or 'null', not {on_error!r}")
    return Options(model, read_parameters(values, function), on_error)


def read_parameters(values: Mapping[str, Any], function: str) -> Parameters:
    """Check values for Parameters by name."""
    unknown = [name for name in values if name not in Parameters.__dataclass_fields__]
    if unknown:
        hint = nearest(unknown[0], Parameters.__dataclass_fields__)
        raise SqlinferError(f"{function}: there is no parameter {unknown[0]}. {hint}")
    return Parameters(**{name: _check(name, value, function) for name, value in values.items()})


def _check(name: str, value: Any, function: str) -> Any:
    if name == "stop":
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) and text for text in texts):
            raise SqlinferError(f"{function}: stop must be a text or a list of texts, not {value!r}")
        return tuple(texts)
    if name in _LEAST:
        if isinstance(value, bool) or not isinstance(value, int) or value < _LEAST[name]:
            least = _LEAST[name]
            raise SqlinferError(f"{function}: {name} must be a whole number of at least {least}, not {value!r}")
        return value
    number = None if isinstance(value, bool | str) or not hasattr(value, "__float__") else float(value)
    if name == "temperature" and (number is None or not 0 <= number <= 100):
        raise SqlinferError(f"{function}: temperature must be a number from 0 to 100, not {value!r}")
    if name == "top_p" and (number is None or not 0 < number <= 1):
        raise SqlinferError(f"{function}: top_p must be a number above 0 and at most 1, not {value!r}")
    return number
