"""A registered version as the folder of an MLflow model. Imports no mlflow."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

from sqlinfer.config.remote_source import is_remote
from sqlinfer.errors import ModelUnusable
from sqlinfer.mlflow.mlmodel import PYFUNC, TRANSFORMERS
from sqlinfer.mlflow.transformers_flavor import PARAMETERS
from sqlinfer.model_files import CONFIG, MLMODEL, model_files, read_json
from sqlinfer.types import ModelVersion

_PIPELINES = {"summarize": "summarization", "embed": "feature-extraction"}
_COMPONENTS = {
    "tokenizer": ("tokenizer_config.json", "AutoTokenizer"),
    "image_processor": ("preprocessor_config.json", "AutoImageProcessor"),
}
"""Beside the weights: the file that each component has, and the class that reads it."""
_WEIGHTS = ("config.json", "generation_config.json", "modules.json", "*.safetensors*", "*.bin*", "*/*")
_LIBRARIES = ("transformers", "torch")


def check_exportable(version: ModelVersion) -> None:
    """Raise ModelUnusable for a version that MLflow has no flavor for."""
    if is_remote(version.source):
        raise ModelUnusable(f"{version} cannot be exported: it lies behind an address, {version.source}")
    if version.scorer is not None and not (version.path / MLMODEL).is_file():
        raise ModelUnusable(
            f"{version} cannot be exported: its loader is {version.scorer.loader}, and MLflow takes models of "
            "transformers and those that came from it. Log it with mlflow.pyfunc"
        )


def write_mlflow_folder(version: ModelVersion, folder: Path) -> Path:
    """The folder of an MLflow model: the version's own, or a new one of the transformers flavor, which links its
    files."""
    if version.scorer is not None:
        return version.path
    components = [name for name, (file, _) in _COMPONENTS.items() if (version.path / file).is_file()]
    for file in model_files(version.path, version.trusted):
        name = file.relative_to(version.path).as_posix()
        is_weights = not components or any(fnmatch(name, pattern) for pattern in _WEIGHTS)
        link = folder / ("model" if is_weights else f"components/{components[0]}") / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
    requirements = "".join(f"{library}=={metadata.version(library)}\n" for library in _LIBRARIES)
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    # JSON is YAML
    (folder / MLMODEL).write_text(json.dumps(_mlmodel(version, components), indent=2), encoding="utf-8")
    return folder


def _mlmodel(version: ModelVersion, components: list[str]) -> dict[str, Any]:
    """The content of an MLmodel file."""
    architecture = (read_json(version.path / CONFIG).get("architectures") or ["AutoModel"])[0]
    is_classifier = architecture.endswith("ForSequenceClassification")
    pipeline = _PIPELINES.get(version.task, "text-classification" if is_classifier else "text-generation")
    parameters = asdict(version.parameters)
    config = {name: parameters[ours] for name, ours in PARAMETERS.items() if parameters[ours] is not None}
    if parameters["temperature"]:
        config |= {"do_sample": True, "temperature": parameters["temperature"]}
    text = json.dumps([{"type": "string", "required": True}])
    return {
        "flavors": {
            TRANSFORMERS: {
                "task": pipeline,
                "instance_type": "Pipeline",
                "pipeline_model_type": architecture,
                "model_binary": "model",
                "source_model_name": version.name,
                "components": components,
                **{f"{name}_type": _COMPONENTS[name][1] for name in components},
                "transformers_version": metadata.version("transformers"),
                "torch_dtype": None,
                "code": None,
            },
            PYFUNC: {
                "loader_module": "mlflow.transformers",
                "python_version": platform.python_version(),
                "config": config,
            },
        },
        "signature": {"inputs": text, "outputs": text, "params": None},
        "model_uuid": version.fingerprint,
    }
