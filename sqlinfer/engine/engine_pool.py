"""The engines of this process: one a model version, however many threads and functions ask for it.

Knows no torch: an engine loads its weights when its first request runs.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence as Series

from sqlinfer.engine.engine import TorchEngine
from sqlinfer.engine.model import model_kind as kind
from sqlinfer.types import AnyRequest, Choose, ModelVersion

_engines: dict[tuple[str, str], TorchEngine] = {}
_lock = threading.Lock()


def open_engine(version: ModelVersion, dtype: str | None = None, device: str | None = None) -> TorchEngine:
    """An engine of its own for a version, shared with nobody.

    dtype: overrides the version's. device: "cuda", "cuda:1", "mps", "cpu"; else SQLINFER_DEVICE or the best.
    """
    return TorchEngine(version, dtype, device)


def get_engine(version: ModelVersion) -> TorchEngine:
    """The process's engine for a version; versions of equal fingerprint and dtype share one."""
    key = (version.fingerprint or str(version.path), version.dtype)
    with _lock:
        if key not in _engines:
            _engines[key] = TorchEngine(version)
        return _engines[key]


def count_prompt_tokens(version: ModelVersion, requests: Series[AnyRequest]) -> list[int]:
    """Tokens of each prompt as the model would read it, from the tokenizer alone; 0 for a request that fails."""
    return get_engine(version).count_prompt_tokens(requests)


def read_prompt(version: ModelVersion, request: AnyRequest) -> str:
    """The prompt of a request as the model reads it, before it is cut to fit."""
    engine = get_engine(version)
    if engine.kind == "generate":
        return engine.prompts.render(request, request.text)
    query = request.query if isinstance(request, Choose) else ""
    return f"{query}\n\n{request.text}" if query else request.text


def embedding_width(version: ModelVersion) -> int | None:
    """Numbers in an embedding, from the model's files alone; None if it does not embed. Raises ModelUnusable."""
    return get_engine(version).embedding_width


def unsupported_reason(version: ModelVersion, request: AnyRequest) -> str:
    """Why a model of its kind cannot answer such a request, to be said after its name; "" if it can. From the model's
    files alone. Raises ModelUnusable."""
    if kind.guess_model_kind(version) in kind.answering_kinds(request):
        return ""
    return kind.unsupported_reason(get_engine(version).kind, request)


def close_all() -> None:
    """Free the weights of every engine."""
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.close()
