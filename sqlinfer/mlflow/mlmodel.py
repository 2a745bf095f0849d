"""What the MLmodel file of a folder says: flavors, versions, inference config. Imports no mlflow."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sqlinfer.config.project_file import read_yaml
from sqlinfer.errors import ModelUnusable, SqlinferError
from sqlinfer.model_files import MLMODEL

TRANSFORMERS, PYFUNC = "transformers", "python_function"


@dataclass(frozen=True, slots=True)
class MlModel:
    """A folder with an MLmodel file.

    flavors: configurations by name.
    revision: the id that MLflow gave it when it was logged.
    inference_config: how it generates unless a call says otherwise.
    """

    folder: Path
    flavors: Mapping[str, Mapping[str, Any]]
    revision: str | None
    inference_config: Mapping[str, Any]

    @property
    def transformers(self) -> Mapping[str, Any] | None:
        """The configuration of the transformers flavor, if it has it."""
        return self.flavors.get(TRANSFORMERS)


def read_mlmodel(folder: Path) -> MlModel:
    """Read a folder's MLmodel file. Raises ModelUnusable if nothing here can run what it describes."""
    try:
        content = read_yaml(folder / MLMODEL)
        flavors = {str(name): dict(flavor or {}) for name, flavor in content["flavors"].items()}
        revision = content.get("model_id") or content.get("run_id") or content.get("model_uuid")
        model = MlModel(folder, flavors, revision, _inference_config(folder, flavors, content))
    except (SqlinferError, KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise ModelUnusable(f"{folder / MLMODEL} is not what MLflow writes: {error}. Log the model again") from None
    if not {TRANSFORMERS, PYFUNC} & set(flavors):
        raise ModelUnusable(
            f"{folder} is a model of the flavors {', '.join(flavors) or 'none'}, which cannot run here: it needs "
            f"{TRANSFORMERS} or {PYFUNC}. Log it with mlflow.pyfunc"
        )
    return model


def _inference_config(
    folder: Path, flavors: Mapping[str, Mapping[str, Any]], content: Mapping[str, Any]
) -> dict[str, Any]:
    """The logged model config, and above it the params of the signature, as MLflow has it."""
    old = folder / "components" / "inference_config.txt"  # of MLflow before 2.4
    config = json.loads(old.read_text()) if old.is_file() else flavors.get(PYFUNC, {}).get("config") or {}
    params = json.loads((content.get("signature") or {}).get("params") or "[]")
    defaults = {param["name"]: param["default"] for param in params if param.get("default") is not None}
    template = (content.get("metadata") or {}).get("prompt_template")
    return {**config, **defaults, **({"prompt_template": template} if template else {})}


def other_versions(model: MlModel) -> list[str]:
    """Where Python and the installed libraries are not those that it was logged with: "numpy 1.2 (here 2.4)"."""
    here = platform.python_version()
    python = str(model.flavors.get(PYFUNC, {}).get("python_version") or here)
    different = [] if python.split(".")[:2] == here.split(".")[:2] else [f"Python {python} (here {here})"]
    return different + [
        f"{name} {version} (here {installed})"
        for name, version in _pinned(model.folder)
        if (installed := _installed(name)) not in (None, version)
    ]


def absent_libraries(model: MlModel) -> list[str]:
    """The pinned libraries of its requirements.txt that are not installed, as pip takes them. They may be here by
    another name, as xgboost-cpu is."""
    return [f"{name}=={version}" for name, version in _pinned(model.folder) if _installed(name) is None]


def _pinned(folder: Path) -> Iterator[tuple[str, str]]:
    """The libraries that requirements.txt pins to a version, but for MLflow: it reads what older versions wrote."""
    file = folder / "requirements.txt"
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        name, pin, version = line.partition(";")[0].partition("==")
        name = name.partition("[")[0].strip()
        if pin and name not in ("mlflow", "mlflow-skinny"):
            yield name, version.strip()


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None
