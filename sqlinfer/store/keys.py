"""The key of an answer: a hash of all that decides what the answer is.

Knows no database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlinfer.types import AnyRequest, Choose, Classify, CountTokens, Embed, Generate, Parameters, Predict, SplitText

if TYPE_CHECKING:
    from hashlib import blake2b

KEY_BYTES = 16
_FLOATS = ("temperature", "top_p")
_START = hashlib.blake2b(b"sqlinfer answer 2", digest_size=KEY_BYTES)
_Rest = tuple[str, str, str, str, str, tuple[str, ...]]  # instruction, task, overflow, schema, query, choices


def _rest_of_generate(request: Generate) -> _Rest:
    task = "prompt" if request.is_prompt else "chat" if request.turns else request.task
    return request.instruction, task, request.overflow, request.schema, "", tuple(chain(*request.turns))


_REST: Mapping[type[AnyRequest], Callable[[Any], _Rest]] = {
    Generate: _rest_of_generate,
    SplitText: lambda r: (r.instruction, r.task, "split", r.schema, "", ()),
    Choose: lambda r: (r.instruction, "generate", r.overflow, "", r.query, r.choices),
    Embed: lambda r: ("", "embed", r.overflow, "", "", ()),
    Classify: lambda r: ("", "predict", r.overflow, "", "", ()),
    Predict: lambda r: (r.sql_type, "score", r.overflow, "", "", ()),
    CountTokens: lambda _: ("", "count_tokens", "error", "", "", ()),
}
"""What is hashed of a request, besides text and parameters; kept answers depend on every word of it."""
_INTEGERS = ("max_tokens", "min_tokens", "top_k", "num_beams", "seed")


class AnswerKeys:
    """Makes the keys of one function on one model; quick when only the text differs from call to call."""

    __slots__ = ("_fingerprint", "_function_hash", "_last")

    def __init__(self, fingerprint: str, function_hash: str) -> None:
        self._fingerprint = fingerprint
        self._function_hash = function_hash
        self._last: tuple[Parameters | None, _Rest | None, Callable[[], blake2b]] = (None, None, _START.copy)

    def __call__(self, request: AnyRequest, parameters: Parameters | None = None) -> bytes:
        """16 bytes, equal for equal requests.

        parameters: those that hold, in place of the request's own.
        """
        holding = request.parameters if parameters is None else parameters
        # One read: another thread may replace it meanwhile.
        last, last_rest, copy = self._last
        rest = _REST[type(request)](request)
        if request.files:
            rest = (*rest[:1], f"{rest[1]} with {len(request.files)} files", *rest[2:])
        if holding is not last or rest != last_rest:
            copy = _shared(self._fingerprint, self._function_hash, rest, holding).copy
            self._last = (holding, rest, copy)
        hasher = copy()
        for file in request.files:
            hasher.update(hashlib.sha256(file).digest())
        hasher.update(request.text.encode("utf-8", "surrogatepass"))
        return hasher.digest()


def answer_key(fingerprint: str, function_hash: str, request: AnyRequest) -> bytes:
    """The key of one request; for many of one function, AnswerKeys is quicker."""
    return _keys(fingerprint, function_hash)(request)


@lru_cache(maxsize=256)
def _keys(fingerprint: str, function_hash: str) -> AnswerKeys:
    return AnswerKeys(fingerprint, function_hash)


@lru_cache(maxsize=4096)
def _shared(fingerprint: str, function_hash: str, rest: _Rest, parameters: Parameters) -> blake2b:
    # Each part is preceded by its length, so that parts cannot run into each other; the text comes last.
    hasher = _START.copy()
    *texts, choices = rest
    parts = [fingerprint, function_hash, *texts, str(len(choices)), *choices, *_written(parameters)]
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        hasher.update(len(encoded).to_bytes(8, "little"))
        hasher.update(encoded)
    return hasher


def _written(parameters: Parameters) -> list[str]:
    # 1 and 1.0 are equal parameters, and 0.0 and -0.0: they must be written alike.
    parts = []
    for name in _INTEGERS:
        number = getattr(parameters, name)
        parts.append("" if number is None else str(int(number)))
    for name in _FLOATS:
        number = getattr(parameters, name)
        parts.append("" if number is None else repr(float(number) + 0.0))
    if parameters.stop is None:
        return [*parts, ""]
    return [*parts, str(len(parameters.stop)), *parameters.stop]
