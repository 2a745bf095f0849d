"""A version of a model, and the parameters with which it generates. Knows nothing but the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

ModelKind = Literal["generate", "embed", "classify", "rerank"]
"""What a model's architecture can do: write text, embed it, classify it, score pairs of texts."""


DTYPES = ("auto", "float32", "bfloat16", "float16", "int8")


@dataclass(frozen=True, slots=True)
class Parameters:
    """How an answer is generated; None leaves the choice to the model's registration, then to the model.

    max_tokens, min_tokens: bounds on the number of new tokens.
    temperature: 0 is greedy.
    top_p: probability mass of the tokens to sample from, 0..1.
    top_k: number of tokens to sample from; 0: all.
    num_beams: for encoder-decoder models only.
    seed: of sampling.
    stop: texts that end the answer and are cut from it.
    """

    max_tokens: int | None = None
    min_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    num_beams: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None

    def over(self, defaults: Parameters) -> Parameters:
        """These parameters, with what they leave open taken from defaults."""
        if self == _UNSET:
            return defaults
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return Parameters(**{k: getattr(defaults, k) if v is None else v for k, v in mine.items()})


_UNSET = Parameters()


@dataclass(frozen=True, slots=True)
class WarmModel:
    """A model that answers the next request at once.

    model: the version.
    seconds: that it took; near zero if it was loaded before.
    bytes: of its weights, or of its processes.
    path: what its rows run through: device, dtype, how they share a batch.
    left: models that left the memory for it.
    """

    model: str
    seconds: float
    bytes: int
    path: tuple[str, ...]
    left: tuple[str, ...] = ()


Loader = Literal["script", "sklearn", "xgboost", "lightgbm", "onnx", "mlflow"]
"""What reads a model that no engine runs: a Python file of the user's, or a library."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model that worker processes score, in place of an engine."""

    file: str
    """Its path in the model's folder; "" if the model's path is the file itself, or the whole folder."""
    returns: str
    """The SQL type of a result."""
    input_type: str = ""
    """The SQL type that an input must have; "" for any. The fields of a STRUCT are matched by name; one of the type
    "NULL" takes any."""
    loader: Loader = "script"
    optional: tuple[str, ...] = ()
    """The fields of input_type that may be missing."""
    not_null: tuple[str, ...] = ()
    """The fields of input_type that may not be NULL."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Weights under a name; never changes once registered.

    name: as in SQL.
    version: its number; 0 for a model that is not registered.
    source: hub id or folder, as the user gave it.
    path: the folder with the files, or the one file.
    fingerprint: hash of weights, tokenizer, configuration and of what the registration adds.
    revision: commit of the hub repository, pinned.
    task: "generate", "summarize", "embed", or "" to follow the model.
    dtype: one of DTYPES.
    parameters: defaults of its calls.
    description: for people and for search.
    tags: values by key.
    trusted: whether pickled weights may be loaded.
    settings: of the jobs that use it (JobSettings).
    scorer: how worker processes score it; None for weights that an engine runs.
    """

    name: str
    version: int
    source: str
    path: Path
    fingerprint: str
    revision: str | None = None
    task: str = ""
    dtype: str = "auto"
    parameters: Parameters = Parameters()
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    trusted: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    scorer: Scorer | None = None

    def __str__(self) -> str:
        return f"{self.name}/{self.version}" if self.version else self.name
