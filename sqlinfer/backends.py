"""Who answers for a model version: the one place that opens an Engine. Knows no store and no SQL."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from sqlinfer import remote
from sqlinfer.config.job_settings import SettingsLayers
from sqlinfer.config.process_settings import environment, logging_level
from sqlinfer.config.remote_source import is_remote
from sqlinfer.engine import (
    MemoryEstimate,
    count_prompt_tokens,
    embedding_width,
    estimate_memory,
    get_engine,
    read_prompt,
    unsupported_reason,
)
from sqlinfer.scoring import mismatch, open_scorer
from sqlinfer.types import AnyRequest, Cancel, Engine, ModelVersion, Predict, WarmModel


@dataclass(frozen=True, slots=True)
class Backend:
    """Opens the models of one kind of source, and says what it can of them without their weights."""

    open: Callable[[ModelVersion], Engine]
    """The process's engine for a version, whose settings are those of the job."""
    count_prompt_tokens: Callable[[ModelVersion, Sequence[AnyRequest]], list[int]]
    """Tokens of each prompt; 0 for a request that fails."""
    read_prompt: Callable[[ModelVersion, AnyRequest], str]
    """The prompt of a request as the model reads it."""
    embedding_width: Callable[[ModelVersion], int | None]
    """Numbers in an embedding; None if the model does not embed."""
    unsupported_reason: Callable[[ModelVersion, AnyRequest], str]
    """Why the model cannot answer such a request; "" if it can."""
    estimate_memory: Callable[[ModelVersion, int], MemoryEstimate | None]
    """What the model needs of the device for rows of so many tokens; None if it runs elsewhere."""
    cost: Callable[[ModelVersion, int, int], float | None] = lambda *_: 0.0
    """US dollars for so many prompt and completion tokens; None if no price is known."""
    warm: Callable[[ModelVersion, Cancel], WarmModel] | None = None
    """Loads a model, so that it answers the next request at once; None where there is nothing to load."""
    choice_tokens: int = 0
    """Tokens that are decoded for a Choose, about; 0 where choices are scored."""
    retries: bool = False
    """Whether its engines bound the time of a batch and try again what failed."""


def _unscored_reason(version: ModelVersion, request: AnyRequest) -> str:
    assert version.scorer is not None
    if not isinstance(request, Predict):
        return "is scored by ai_predict alone"
    return mismatch(version.scorer, request.sql_type)


def _scored_value(request: AnyRequest) -> str:
    """What a scorer gets for a request, for people."""
    if isinstance(request, Predict) and request.sql_type == "BLOB":
        return f"{len(b64decode(request.text)):,} bytes"
    return request.text


TRANSFORMERS = Backend(
    get_engine,
    count_prompt_tokens,
    read_prompt,
    embedding_width,
    unsupported_reason,
    estimate_memory,
    warm=lambda version, cancel: get_engine(version).warm(cancel),
)
SCORERS = Backend(
    open_scorer,
    count_prompt_tokens=lambda _, requests: [0] * len(requests),
    read_prompt=lambda _, request: _scored_value(request),
    embedding_width=lambda _: None,
    unsupported_reason=_unscored_reason,
    estimate_memory=lambda *_: MemoryEstimate("cpu", "", 0, 0, 0),
    warm=lambda version, cancel: open_scorer(version).warm(cancel),
    retries=True,
)
REMOTE = Backend(
    remote.RemoteEngine,
    count_prompt_tokens=remote.count_prompt_tokens,
    read_prompt=remote.read_prompt,
    embedding_width=lambda _: None,
    unsupported_reason=remote.unsupported_reason,
    estimate_memory=lambda *_: None,
    cost=remote.cost,
    choice_tokens=16,
    retries=True,
)
BACKENDS: Mapping[str, Backend] = {"": TRANSFORMERS, "address": REMOTE}
"""By where a model is: "" for a folder, and for the id of a repository on the hub."""


def backend_of(version: ModelVersion) -> Backend:
    """The backend of a version: that of scorers, that of addresses, or the one of folders and ids of the hub."""
    if version.scorer is not None:
        return SCORERS
    return BACKENDS["address" if is_remote(version.source) else ""]


def warm(version: ModelVersion, settings: SettingsLayers, cancel: Cancel) -> WarmModel:
    """Load a model under the settings of a job, so that it answers the next request at once. Raises ModelUnusable, and
    Interrupted if cancel is set before it is loaded."""
    load, merged = backend_of(version).warm, settings.over(version.settings)
    if load is None:
        return WarmModel(str(version), 0.0, 0, (version.source,))
    with logging_level(merged.logging_level), environment(merged.environment):
        return load(replace(version, settings=asdict(merged)), cancel)


def open_engine(version: ModelVersion) -> Engine:
    """The engine that answers for a version. Raises ModelUnusable, as the engine does when it first needs weights."""
    return backend_of(version).open(version)
