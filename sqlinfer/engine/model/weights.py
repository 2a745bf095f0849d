"""Loads the configuration and the weights of a model's folder: local files only, and no code from it is ever run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlinfer.engine.model.device import free_memory, is_out_of_memory
from sqlinfer.engine.model.model_kind import IMAGE_CLASSIFIER, describe_kind, find_media, find_model_kind
from sqlinfer.errors import ModelUnusable, SqlinferError, describe, first_line
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
UPGRADE = "A newer transformers may know it: pip install -U transformers"
DEPTHS = ("num_hidden_layers", "num_layers", "num_decoder_layers", "decoder_layers", "encoder_layers")
MIXED = "Copy the model's whole folder; its files do not belong together"
MAX_GROWTH = 1.5  # of the parameters that are described over those in the files: none but a pooler may be missing
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
            config = AutoConfig.from_pretrained(folder, **LOCAL)
        _check_layers(version, config)
        return config
    except SqlinferError:
        raise
    except Exception as error:  # each model's configuration raises errors of its own
        model_type = content.get("model_type", "none")
        problem = f"its model type {model_type!r} cannot be read ({first_line(error)})"
        raise unusable(version, problem, UPGRADE) from error


_FEW_LAYERS = 1000
"""So many cost no time; whether the files have them is seen when they are read."""


def _check_layers(version: ModelVersion, config: Any) -> None:
    """Raise ModelUnusable if the configuration has more layers than the weight files have tensors: caches and layers
    are made one by one, and a wrong number could take for ever."""
    num_tensors = len(read_headers(version))
    text = config.get_text_config(decoder=True)
    layers = max(getattr(part, name, None) or 0 for part in (config, text) for name in DEPTHS)
    if num_tensors and layers > max(num_tensors, _FEW_LAYERS):
        problem = f"{CONFIG} has {layers:,} layers, and its weight files have {num_tensors:,} tensors"
        raise unusable(version, problem, MIXED)


def load_model(version: ModelVersion, config: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The weights, on the device and ready for inference. Raises ModelUnusable."""
    headers = _check_weights(version)
    model_kind = find_model_kind(version, config)
    weights_class = _class(model_kind, config)
    with refusing(version, f"cannot be built from its {CONFIG}", "Fetch the file again"):
        _check_size(version, weights_class, config, headers, device, dtype)
    does = describe_kind(model_kind, find_media(config))
    with refusing(version, "cannot be loaded", f"Register a model that {does}"):
        model, report = weights_class.from_pretrained(
            version.path,
            config=config,
            dtype=dtype,
            use_safetensors=None if version.trusted else True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, with their names
            **LOCAL,
        )
    _check_report(version, model_kind, model, report)
    if model_kind == "generate" and not getattr(model, "_supports_default_dynamic_cache", lambda: True)():
        raise unusable(version, f"architecture {type(model).__name__} has an unsupported kind of cache", "Use another")
    try:
        return model.to(device).eval()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise _too_large(version, sum(p.nbytes for p in model.parameters()), dtype, device) from error


def _check_size(
    version: ModelVersion,
    weights_class: Any,
    config: Any,
    headers: Mapping[str, TensorHeader],
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Raise ModelUnusable before anything is allocated if the model that the configuration describes is far larger
    than its files, or than the memory."""
    import torch

    if not headers or getattr(config, "quantization_config", None):
        return
    with quiet(), torch.device("meta"):
        described = sum(p.numel() for p in weights_class.from_config(config).parameters())
    held = sum(math.prod(tensor.shape) for tensor in headers.values())
    if described > MAX_GROWTH * held:
        problem = f"{CONFIG} describes {described:,} parameters, and its weight files hold {held:,}"
        raise unusable(version, problem, MIXED)
    if described * dtype.itemsize > free_memory(device):
        raise _too_large(version, described * dtype.itemsize, dtype, device)


def _too_large(version: ModelVersion, num_bytes: int, dtype: torch.dtype, device: torch.device) -> ModelUnusable:
    size = f"{num_bytes / 1e9:.1f} GB in {str(dtype).removeprefix('torch.')}"
    problem = (
        f"its weights ({size}) do not fit the memory of {device}, of which {free_memory(device) / 1e9:.1f} GB are free"
    )
    return unusable(version, problem, "Free memory, or set SQLINFER_DEVICE=cpu")


def _check_report(version: ModelVersion, model_kind: ModelKind, model: Any, report: Mapping[str, Any]) -> None:
    """Raise ModelUnusable unless each tensor of the files had its place, and each place its tensor.

    Heads of other tasks are left over in many files. What is left over of numbered layers that the model has, too, is
    part of it.
    """
    for name, held, described in sorted(report["mismatched_keys"]):
        shapes = f"has the shape {tuple(held)} in its file, and {tuple(described)} by {CONFIG}"
        raise unusable(version, f"{name} {shapes}", MIXED)
    if missing := [key for key in sorted(report["missing_keys"]) if model_kind != "embed" or "pooler." not in key]:
        problem = f"its weights lack {len(missing)} tensors that the architecture needs, among them {missing[0]}"
        does = describe_kind(model_kind, find_media(model.config))
        raise unusable(version, problem, f"Register a model that {does}, with all its weights")
    kinds = {_without_numbers(name) for name in model.state_dict()}
    prefix = f"{model.base_model_prefix}."
    kinds |= {name.removeprefix(prefix) for name in kinds} | {prefix + name for name in kinds}
    left_over = [
        n for n in sorted(report["unexpected_keys"]) if _without_numbers(n) != n and _without_numbers(n) in kinds
    ]
    if left_over:
        problem = f"{CONFIG} has no place for {len(left_over)} tensors of its weights, among them {left_over[0]}"
        raise unusable(version, problem, MIXED)


def _without_numbers(name: str) -> str:
    return re.sub(r"(^|\.)\d+(?=\.)", r"\1*", name)


def _class(model_kind: ModelKind, config: Any) -> Any:
    """The class of transformers that loads such a model."""
    import transformers

    media = find_media(config)
    names = {"embed": "AutoModel", "classify": CLASSIFIER, "rerank": CLASSIFIER}
    if media == "images" and model_kind == "classify":
        names["classify"] = f"AutoModel{IMAGE_CLASSIFIER}"
    writer = "AutoModelForSeq2SeqLM" if config.is_encoder_decoder else "AutoModelForCausalLM"
    writer = writer if media == "texts" else "AutoModelForImageTextToText"
    return getattr(transformers, names.get(model_kind, writer))


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
def refusing(version: ModelVersion, problem: str = "does not run", remedy: str = UPGRADE) -> Iterator[None]:
    """Turn whatever a model raises within into ModelUnusable; used with what any row would need.

    problem: what it means, after "it". remedy: what may mend it.
    """
    try:
        with quiet():
            yield
    except SqlinferError:
        raise
    except Exception as error:
        remedy = "Free memory" if is_out_of_memory(error) else remedy
        raise unusable(version, f"it {problem} ({describe(error)})", remedy) from error


def unusable(version: ModelVersion, problem: str, remedy: str) -> ModelUnusable:
    """The error of a model's folder that cannot be used."""
    return ModelUnusable(f"Model {version} in {version.path} cannot be used: {problem}. {remedy}.")
