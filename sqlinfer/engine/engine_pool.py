"""The engines of this process: one a model version, however many threads and functions ask for it.

Knows no torch: an engine loads its weights when its first request runs.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence as Series

from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.engine.model import model_kind
from sqlinfer.types import AnyRequest, ModelVersion

_engines: dict[tuple[str, str], TransformersEngine] = {}
_lock = threading.Lock()


def open_engine(version: ModelVersion, dtype: str | None = None, device: str | None = None) -> TransformersEngine:
    """An engine of its own for a version, shared with nobody.

    dtype: overrides the version's. device: "cuda", "cuda:1", "mps", "cpu"; else SQLINFER_DEVICE or the best.
    """
    return TransformersEngine(version, dtype, device)


def get_engine(version: ModelVersion) -> TransformersEngine:
    """The process's engine for a version; versions of equal fingerprint and dtype share one."""
    key = (version.fingerprint or str(version.path), version.dtype)
    with _lock:
        if key not in _engines:
            _engines[key] = TransformersEngine(version)
        return _engines[key]


def count_prompt_tokens(version: ModelVersion, requests: Series[AnyRequest]) -> list[int]:
    """Tokens of each prompt as the model would read it, from the tokenizer alone; 0 for a request that fails."""
    return get_engine(version).count_prompt_tokens(requests)


def read_prompt(version: ModelVersion, request: AnyRequest) -> str:
    """The prompt of a request as the model reads it, before it is cut to fit."""
    return get_engine(version).read_prompt(request)


def embedding_width(version: ModelVersion) -> int | None:
    """Numbers in an embedding, from the model's files alone; None if it does not embed. Raises ModelUnusable."""
    return get_engine(version).loaded.embedding_width


def unsupported_reason(version: ModelVersion, request: AnyRequest) -> str:
    """Why a model of its kind cannot answer such a request, to follow its name; "" if it can. From the model's
    files alone. Raises ModelUnusable."""
    if model_kind.guess_support(version, request):
        return ""
    loaded = get_engine(version).loaded
    return model_kind.unsupported_reason(loaded.model_kind, loaded.media, request)


def close_all() -> None:
    """Free the weights of every engine."""
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.close()
