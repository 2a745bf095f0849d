"""The fields of a call's JSON body: each is read, known to change no answer, or refused by name. Knows no models."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlinfer.errors import EXCERPT, nearest
from sqlinfer.serve.http.errors import ApiError
from sqlinfer.types import Parameters

Read = Callable[[Any], Any]
"""Reads a field's JSON; raises ValueError that says what it must be."""

MOST_CHOICES = 128
_WITHOUT_EFFECT = frozenset(
    ("metadata", "parallel_tool_calls", "prompt_cache_key", "safety_identifier", "service_tier", "user")
)
"""Fields that change no answer here, whatever they hold."""
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
}
"""Fields that are not supported, with the values that ask for nothing."""


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def json_object(value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise ValueError("a JSON object")
    return value


def texts(value: Any) -> list[str]:
    """A text, or a list of texts, that is not empty."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed or not all(isinstance(each, str) for each in listed):
        raise ValueError("a text or a list of texts; token ids are not supported")
    return listed


def stop_texts(value: Any) -> list[str]:
    """A text, or a list of texts."""
    return [] if value == [] else texts(value)


def stream_options(value: Any) -> dict[str, bool]:
    """What a stream tells besides its pieces."""
    if not isinstance(value, dict) or not set(value) <= {"include_usage"}:
        raise ValueError('{"include_usage": true}')
    return {name: flag(each) for name, each in value.items()}


def integer(least: int, most: int) -> Read:
    """Reads an integer between bounds."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"an integer from {least} to {most}")
        return int(value)

    return read


def number(least: float, most: float) -> Read:
    """Reads a number between bounds."""

    def read(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return float(value)

    return read


SAMPLING: Mapping[str, Read] = {
    "max_tokens": integer(1, 2**31),
    "max_completion_tokens": integer(1, 2**31),
    "min_tokens": integer(0, 2**31),
    "temperature": number(0, 100),
    "top_p": number(0, 1),
    "top_k": integer(0, 2**31),
    "seed": integer(-(2**63) + 1, 2**63 - MOST_CHOICES - 1),
    "stop": stop_texts,
    "stream": flag,
    "stream_options": stream_options,
    "n": integer(1, MOST_CHOICES),
}
"""The fields of all calls that write; top_k and min_tokens are extensions of OpenAI's API, as vLLM has them."""


def read_fields(body: Mapping[str, Any], readers: Mapping[str, Read], required: Iterable[str]) -> dict[str, Any]:
    """The fields of a body that are not null, read. Raises ApiError that names the first field at fault."""
    for name in required:
        if body.get(name) is None:
            raise ApiError(400, f"the field {name!r} is missing", name)
    fields: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in _WITHOUT_EFFECT:
            continue
        if name in readers:
            fields[name] = read_field(name, readers[name], value)
        elif name not in _NEUTRAL:
            raise ApiError(400, f"there is no field {name!r}. {nearest(name, readers)}", name, "unknown_field")
        elif value not in _NEUTRAL[name]:
            raise ApiError(400, f"the field {name!r} is not supported: leave it out", name, "unsupported_field")
    return fields


def read_field(name: str, read: Read, value: Any) -> Any:
    """A field's value. Raises ApiError that names the field."""
    try:
        return read(value)
    except ValueError as error:
        raise ApiError(400, f"{name} is {repr(value)[:EXCERPT]}; it must be {error}", name) from None


def sampling_parameters(fields: Mapping[str, Any]) -> Parameters:
    """How answers are generated; what is left open is the model's default."""
    stop = fields.get("stop")
    return Parameters(
        max_tokens=fields.get("max_completion_tokens", fields.get("max_tokens")),
        min_tokens=fields.get("min_tokens"),
        temperature=fields.get("temperature"),
        top_p=fields.get("top_p"),
        top_k=fields.get("top_k"),
        seed=fields.get("seed"),
        stop=None if stop is None else tuple(stop),
    )
