"""An MLflow model of the transformers flavor as a folder that the engine reads, with what it says of its parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlinfer.engine import disregarded
from sqlinfer.errors import ModelUnusable
from sqlinfer.functions.call_options import read_parameters
from sqlinfer.mlflow.mlmodel import TRANSFORMERS, MlModel
from sqlinfer.model_files import CONFIG, MLMODEL, BrokenFile, read_json
from sqlinfer.types import Parameters

GENERATION = "generation_config.json"
TASKS = {
    "summarization": "summarize",
    "text-generation": "generate",
    "text2text-generation": "generate",
    "llm/v1/completions": "generate",
    "llm/v1/chat": "generate",
    "feature-extraction": "embed",
    "llm/v1/embeddings": "embed",
}
"""Pipelines of transformers, and what they are as a task here."""
PARAMETERS = {
    **{"max_new_tokens": "max_tokens", "min_new_tokens": "min_tokens"},
    **{"num_beams": "num_beams", "top_k": "top_k", "top_p": "top_p"},
}
"""Names in transformers, and here."""
_LENGTHS = {"max_length": "max_new_tokens", "min_length": "min_new_tokens"}


def assemble(model: MlModel, folder: Path, place: Callable[[Path, Path], object]) -> tuple[Parameters, list[str]]:
    """Put weights, tokenizer and processors of a model into one folder; place: moves or links a file.

    Returns the parameters of its inference config, and those settings of it that mean nothing here.
    """
    for part in _parts(model):
        for file in sorted(path for path in part.rglob("*") if path.is_file()):
            target = folder / file.relative_to(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                place(file, target)
    try:
        return _configure(folder, model.inference_config)
    except BrokenFile as error:
        raise ModelUnusable(f"{error}. {error.remedy}") from error


def _parts(model: MlModel) -> list[Path]:
    """Its folders of files; the first that has a file counts, as a checkpoint may hold another tokenizer."""
    flavor = model.flavors[TRANSFORMERS]
    weights = model.folder / str(flavor.get("model_binary") or "pipeline")
    if "peft_adaptor" in flavor:
        raise ModelUnusable(f"{model.folder} holds a PEFT adapter. Merge it into its model, and log that")
    if not weights.is_dir():
        name, revision = flavor.get("source_model_name"), flavor.get("source_model_revision")
        raise ModelUnusable(
            f"{model.folder} holds no weights: it was logged with save_pretrained=False. Register what it refers to: "
            f"sqlinfer models register NAME {name} --revision {revision}"
        )
    names = [*(flavor.get("components") or ()), *(["processor"] if "processor_type" in flavor else [])]
    parts = [*(model.folder / "components" / str(name) for name in names), weights]
    for part in parts:
        if not part.resolve().is_relative_to(model.folder.resolve()):
            raise ModelUnusable(f"{model.folder / MLMODEL} names {part}, which lies outside of the model's folder")
    return parts


def _configure(folder: Path, logged: Mapping[str, Any]) -> tuple[Parameters, list[str]]:
    """Parameters, and what means nothing here. What else transformers knows goes into files, where the engine reads."""
    config, generation = (_read(folder / name) for name in (CONFIG, GENERATION))
    values = {name: value for name, value in logged.items() if value is not None}
    is_sampled = values.pop("do_sample", generation.get("do_sample", False))
    temperature = values.pop("temperature", generation.get("temperature", 1.0))  # without effect if nothing is sampled
    unused = ["max_length"] if not config.get("is_encoder_decoder") else []  # counts the prompt too
    unused += ["num_beams"] if is_sampled and values.get("num_beams", 1) != 1 else []
    unused += [name for name, value in values.items() if disregarded({name: value})]
    ignored = [f"{name} = {values.pop(name)}" for name in unused if name in values]
    for length, tokens in _LENGTHS.items():
        if length in values:  # which counts the token that starts the output
            values.setdefault(tokens, max(values.pop(length) - 1, 0))
    parameters = {PARAMETERS[name]: values.pop(name) for name in PARAMETERS if name in values}
    _write(folder / GENERATION, generation, generation | values)
    tasks = {
        task: {name: value for name, value in settings.items() if name not in logged}
        for task, settings in (config.get("task_specific_params") or {}).items()
    }  # which would stand above the others
    if tasks:
        _write(folder / CONFIG, config, config | {"task_specific_params": tasks})
    return read_parameters(
        parameters | ({"temperature": temperature} if is_sampled else {}), "inference config"
    ), ignored


def _read(file: Path) -> dict[str, Any]:
    return dict(read_json(file)) if file.is_file() else {}


def _write(file: Path, before: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Write a file anew that may be a link."""
    if content != before:
        file.unlink(missing_ok=True)
        file.write_text(json.dumps(content, indent=2), encoding="utf-8")
