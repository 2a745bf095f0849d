"""Loads the configuration and the weights of a model's folder: local files only, and no code from it is ever run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlinfer.engine.model.device import is_out_of_memory
from sqlinfer.engine.model.model_kind import DOES, find_model_kind
from sqlinfer.errors import ModelUnusable, SqlinferError, first_line
from sqlinfer.model_files import (
    CONFIG,
    WEIGHTS,
    BrokenFile,
    TensorHeader,
    check_references,
    read_header,
    read_json,
    weight_files,
)
from sqlinfer.types import ModelKind, ModelVersion

if TYPE_CHECKING:
    import torch

LOCAL = {"local_files_only": True, "trust_remote_code": False}
RELATIVE_POSITIONS = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
CLASSIFIER = "AutoModelForSequenceClassification"


def load_config(version: ModelVersion) -> Any:
    """The configuration of a model's folder. Raises ModelUnusable."""
    from transformers import AutoConfig

    folder = Path(version.path)
    if not folder.is_dir():
        raise unusable(version, "its folder is missing", "Put it back, or register the model again")
    file = folder / CONFIG
    if not file.is_file():
        raise unusable(version, f"{CONFIG} is missing", "Copy the model's whole folder")
    try:
        content = read_json(file)
    except BrokenFile as error:
        raise unusable(version, f"{CONFIG} is not JSON ({error.problem})", "Fetch the file again") from error
    if not isinstance(content, dict):
        raise unusable(version, f"{CONFIG} holds no JSON object", "Fetch the file again")
    try:
        check_references(folder)
    except BrokenFile as error:
        raise broken(version, error) from error
    try:
        with quiet():
            return AutoConfig.from_pretrained(folder, **LOCAL)
    except Exception as error:  # each model's configuration raises errors of its own
        kind = content.get("model_type", "none")
        remedy = "A newer transformers may know it: pip install -U transformers"
        raise unusable(version, f"its model type {kind!r} cannot be read ({first_line(error)})", remedy) from error


def load_model(version: ModelVersion, config: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The weights, on the device and ready for inference. Raises ModelUnusable."""
    from safetensors import SafetensorError

    _check_weights(version)
    kind = find_model_kind(version, config)
    try:
        with quiet():
            model, report = _class(kind, config).from_pretrained(
                version.path,
                config=config,
                dtype=dtype,
                use_safetensors=None if version.trusted else True,
                output_loading_info=True,
                **LOCAL,
            )
    except (ValueError, KeyError, OSError, TypeError, ImportError, SafetensorError) as error:
        problem = f"its weights cannot be loaded ({first_line(error)})"
        raise unusable(version, problem, f"Register a model that {DOES[kind]}") from error
    if missing := [key for key in sorted(report["missing_keys"]) if kind != "embed" or "pooler." not in key]:
        problem = f"its weights lack {len(missing)} tensors that the architecture needs, among them {missing[0]}"
        raise unusable(version, problem, f"Register a model that {DOES[kind]}, with all its weights")
    if kind == "generate" and not getattr(model, "_supports_default_dynamic_cache", lambda: True)():
        raise unusable(version, f"architecture {type(model).__name__} has an unsupported kind of cache", "Use another")
    try:
        return model.to(device).eval()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = f"{sum(p.nbytes for p in model.parameters()) / 1e9:.1f} GB"
        problem = f"its weights ({size} in {str(dtype).removeprefix('torch.')}) do not fit the memory of {device}"
        raise unusable(version, problem, "Free memory, or set SQLINFER_DEVICE=cpu") from error


def _class(kind: ModelKind, config: Any) -> Any:
    """The class of transformers that loads such a model."""
    import transformers

    names = {"embed": "AutoModel", "classify": CLASSIFIER, "rerank": CLASSIFIER}
    writer = "AutoModelForSeq2SeqLM" if config.is_encoder_decoder else "AutoModelForCausalLM"
    return getattr(transformers, names.get(kind, writer))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and warnings off the screen."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def read_headers(version: ModelVersion) -> dict[str, TensorHeader]:
    """The tensors of a model's weight files by name; none if its weights are pickles. Raises ModelUnusable."""
    folder = Path(version.path)
    try:
        shards = weight_files(folder)
        if missing := [shard.name for shard in shards if not shard.is_file()]:
            problem = f"{len(missing)} of {len(shards)} weight files are missing, among them {missing[0]}"
            raise unusable(version, problem, "Copy the model's whole folder")
        return {name: tensor for shard in shards for name, tensor in read_header(shard).items()}
    except BrokenFile as error:
        raise broken(version, error) from error


def _check_weights(version: ModelVersion) -> dict[str, TensorHeader]:
    """The headers, once the folder has whole safetensors files, or pickles of a trusted model; else ModelUnusable."""
    headers = read_headers(version)
    if not headers and not any(Path(version.path).glob("pytorch_model*.bin*")):
        raise unusable(version, f"it has no weights ({WEIGHTS})", "Copy the model's whole folder")
    if not headers and not version.trusted:
        remedy = f"If you trust its source: sqlinfer models register {version.name} {version.source} --trust"
        raise unusable(version, "its weights are pickles, and loading a pickle may run any code", remedy)
    return headers


def broken(version: ModelVersion, error: BrokenFile) -> ModelUnusable:
    """The error of a model with a file that cannot be used."""
    name = error.file.relative_to(version.path).as_posix()
    is_weights = name.endswith(".safetensors")
    problem = f"{name} is truncated or corrupt: it {error.problem}" if is_weights else f"{name} {error.problem}"
    return unusable(version, problem, error.remedy.rstrip("."))


@contextmanager
def refusing(version: ModelVersion) -> Iterator[None]:
    """Turn whatever a model raises within into ModelUnusable; used with what any row would need."""
    try:
        with quiet():
            yield
    except SqlinferError:
        raise
    except Exception as error:
        problem = f"it does not run ({type(error).__name__}: {first_line(error)})"
        remedy = "Free memory" if is_out_of_memory(error) else "A newer transformers may: pip install -U transformers"
        raise unusable(version, problem, remedy) from error


def unusable(version: ModelVersion, problem: str, remedy: str) -> ModelUnusable:
    """The error of a model's folder that cannot be used."""
    return ModelUnusable(f"Model {version} in {version.path} cannot be used: {problem}. {remedy}.")
