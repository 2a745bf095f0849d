"""Requests of a call from its JSON fields: messages, prompts, the form of the answer. Knows no HTTP."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlinfer.engine import compile_schema
from sqlinfer.serve.http.errors import ApiError
from sqlinfer.serve.http.fields import json_object, sampling_parameters
from sqlinfer.types import Generate

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_MESSAGE_FIELDS = ("role", "content", "name")


def read_messages(value: Any) -> list[tuple[str, str]]:
    """The messages of a chat, each with its role; the last is the user's."""
    if not isinstance(value, list) or not value:
        raise ValueError("a list of messages")
    messages = [_read_message(message) for message in value]
    if messages[-1][0] != "user":
        raise ValueError("a list of messages whose last has the role user")
    return messages


def _read_message(message: Any) -> tuple[str, str]:
    fields = json_object(message)
    if fields.get("role") not in _ROLES:
        raise ValueError(f"messages with one of the roles {', '.join(_ROLES)}, not {fields.get('role')!r}")
    for name, value in fields.items():
        if name not in _MESSAGE_FIELDS and value not in (None, [], {}, ""):
            raise ValueError(f"messages without {name!r}, which is not supported")
    content = fields.get("content")
    if isinstance(content, list):
        content = "".join(_read_part(part) for part in content)
    if not isinstance(content, str):
        raise ValueError("messages whose content is a text, or a list of parts of type text")
    return _ROLES[fields["role"]], content


def _read_part(part: Any) -> str:
    if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise ValueError("messages whose parts are of type text; others are not supported")
    return str(part["text"])


def read_schema(value: Any) -> str:
    """The JSON schema of a response_format; "" for any text."""
    match json_object(value):
        case {"type": "text"}:
            return ""
        case {"type": "json_object"}:
            schema: Any = {"type": "object"}
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            pass
        case _:
            raise ValueError('{"type": "text"}, {"type": "json_object"} or {"type": "json_schema", "json_schema": ..}')
    written = json.dumps(schema)
    try:
        compile_schema(written)
    except ValueError as error:
        raise ValueError(f"a JSON schema that can be followed: {error}") from None
    return written


def chat_request(fields: Mapping[str, Any]) -> Generate:
    """The request of a chat."""
    *turns, (_, last) = fields["messages"]
    schema = fields.get("response_format", "")
    num_logprobs = fields.get("top_logprobs", 0) if fields.get("logprobs") else None
    if num_logprobs is None and "top_logprobs" in fields:
        raise ApiError(400, "top_logprobs needs logprobs: true", "top_logprobs")
    if num_logprobs is not None and schema:
        raise ApiError(
            400, "tokens that a response_format forces have no logprobs; leave out one of the two", "logprobs"
        )
    parameters = sampling_parameters(fields)
    return Generate(last, turns=tuple(turns), schema=schema, num_logprobs=num_logprobs, parameters=parameters)


def choices_of(request: Generate, num_choices: int) -> list[Generate]:
    """A request for each choice; they differ in the seed, which is random if none is given."""
    parameters = request.parameters
    seed = secrets.randbits(62) if parameters.seed is None else parameters.seed
    return [replace(request, parameters=replace(parameters, seed=seed + number)) for number in range(num_choices)]


def prompt_request(prompt: str, fields: Mapping[str, Any]) -> Generate:
    """The request of a whole prompt."""
    num_logprobs = fields.get("logprobs")
    return Generate(prompt, is_prompt=True, num_logprobs=num_logprobs, parameters=sampling_parameters(fields))
