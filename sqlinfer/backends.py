"""Who answers for a model version: the one place that opens an Engine. Knows no store and no SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlinfer.engine import (
    MemoryEstimate,
    count_prompt_tokens,
    embedding_width,
    estimate_memory,
    get_engine,
    read_prompt,
    unsupported_reason,
)
from sqlinfer.types import AnyRequest, Engine, ModelVersion


@dataclass(frozen=True, slots=True)
class Backend:
    """Opens the models of one kind of source, and says what it can of them without their weights."""

    open: Callable[[ModelVersion], Engine]
    """The process's engine for a version."""
    count_prompt_tokens: Callable[[ModelVersion, Sequence[AnyRequest]], list[int]]
    """Tokens of each prompt; 0 for a request that fails."""
    read_prompt: Callable[[ModelVersion, AnyRequest], str]
    """The prompt of a request as the model reads it."""
    embedding_width: Callable[[ModelVersion], int | None]
    """Numbers in an embedding; None if the model does not embed."""
    unsupported_reason: Callable[[ModelVersion, AnyRequest], str]
    """Why the model cannot answer such a request; "" if it can."""
    estimate_memory: Callable[[ModelVersion, int], MemoryEstimate]
    """What the model needs of the device for rows of so many tokens."""


TRANSFORMERS = Backend(
    get_engine, count_prompt_tokens, read_prompt, embedding_width, unsupported_reason, estimate_memory
)
BACKENDS: Mapping[str, Backend] = {"": TRANSFORMERS}
"""By the scheme of a version's source; "" for a folder, and for the id of a repository on the hub."""


def backend_of(version: ModelVersion) -> Backend:
    """The backend of a version: the one of its source's scheme, as "https" in https://models.example.org."""
    scheme = version.source.partition("://")[0]
    return BACKENDS[scheme if scheme in BACKENDS else ""]


def open_engine(version: ModelVersion) -> Engine:
    """The engine that answers for a version. Raises ModelUnusable, as the engine does when it first needs weights."""
    return backend_of(version).open(version)
