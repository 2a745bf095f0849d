"""Outputs as the texts that the store keeps, and back.

A text is kept as it is, a count as digits, probabilities and cuts as JSON, an embedding as its 32-bit floats,
little-endian, in base64.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from sqlinfer.types import Count, Cuts, Embedding, Json, Output, Probabilities, Text


def encode(output: Output | str) -> str:
    """The text that is kept of an output; a text as it is kept stays.

    >>> encode(Embedding([1.0, -0.5]))
    'AACAPwAAAL8='
    """
    return _ENCODERS[type(output)](output)


def decode(output_type: type[Output], text: str) -> Output:
    """The output of an output_type whose kept text this is; a Text if it is none of that type, so that it costs
    the rows that read it and no others.

    >>> decode(Cuts, "[7, 9]")
    (7, 9)
    """
    try:
        return _DECODERS[output_type](text)
    except ValueError:
        return Text(text)


def _to_base64(embedding: Embedding) -> str:
    return base64.b64encode(_little_endian(embedding).tobytes()).decode()


def _from_base64(text: str) -> Embedding:
    return _little_endian(Embedding(base64.b64decode(text)))


def _little_endian(embedding: Embedding) -> Embedding:
    """From this machine's order of bytes, or to it."""
    if sys.byteorder == "little":
        return embedding
    swapped = Embedding(embedding.tobytes())
    swapped.byteswap()
    return swapped


def _to_json(output: Any) -> str:
    return json.dumps(output, ensure_ascii=False)


_ENCODERS: Mapping[type[Any], Callable[[Any], str]] = {
    str: str,
    Text: str,
    Count: str,
    Cuts: _to_json,
    Json: str,
    Embedding: _to_base64,
    Probabilities: _to_json,
}
_DECODERS: Mapping[type[Output], Callable[[str], Output]] = {
    Text: Text,
    Count: Count,
    Cuts: lambda text: Cuts(json.loads(text)),
    Json: Json,
    Embedding: _from_base64,
    Probabilities: lambda text: Probabilities(json.loads(text)),
}
