"""Registers a model of any source: a folder, a hub id, an MLflow model, a file that worker processes score."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlinfer.errors import ModelUnusable, SqlinferError
from sqlinfer.mlflow.client import open_client
from sqlinfer.mlflow.mlmodel import TRANSFORMERS, MlModel, absent_libraries, other_versions, read_mlmodel
from sqlinfer.mlflow.source import MlflowSource, download, is_mlflow_uri, keep, pin, staging
from sqlinfer.mlflow.transformers_flavor import TASKS, assemble
from sqlinfer.model_files import MLMODEL
from sqlinfer.scoring import probe_scorer, read_scorer
from sqlinfer.store import Registry
from sqlinfer.store.source import SourceFiles, find_source, is_folder
from sqlinfer.types import ModelVersion, Parameters, Scorer

_log = logging.getLogger("sqlinfer")  # to stderr, unless the program says otherwise


def register_model(  # noqa: PLR0913 - what a user may say of a model, by keyword
    registry: Registry,
    name: str,
    source: str,
    *,
    script: str | None = None,
    returns: str | None = None,
    input_type: str = "",
    trust: bool = False,
    **registration: Any,
) -> ModelVersion:
    """Register a model as the next version of a name. script, returns, input_type: see read_scorer; registration: see
    Registry.register. An MLflow model of the transformers flavor is one for the engine, unless returns is given."""
    types = {"returns": returns, "input_type": input_type, "trust": trust}
    folder = Path(source).expanduser().resolve()
    if is_mlflow_uri(source) and not script:
        if registration.pop("revision", None):
            raise SqlinferError(f"{source} has no revision but its version: models:/NAME/3")
        with staging(registry.models_folder) as area:
            with open_client() as client:
                pinned = pin(client, source)
                copy = download(client, pinned, area)
            return _register(registry, name, read_mlmodel(copy), pinned, types | registration)
    if not script and is_folder(source) and (folder / MLMODEL).is_file():
        model = read_mlmodel(folder)
        return _register(registry, name, model, MlflowSource(source, model.revision), types | registration)
    scorer = read_scorer(source, script=script, returns=returns, input_type=input_type, trust=trust)
    return registry.register(name, source, scorer=scorer, trust=trust, **registration)


def _register(
    registry: Registry, name: str, model: MlModel, pinned: MlflowSource, options: dict[str, Any]
) -> ModelVersion:
    """Register an MLflow model whose files are here: in the area of models if they were copied, else where they lie."""
    is_copy = is_mlflow_uri(pinned.uri)
    types = {key: options.pop(key) for key in ("returns", "input_type")}
    trust = options["trust"]
    ignored: list[str] = []
    scorer: Scorer | None = None
    if TRANSFORMERS in model.flavors and not types["returns"]:
        with staging(registry.models_folder) as folder:
            parameters, ignored = assemble(model, folder / "model", shutil.move if is_copy else _link)
            find_source(str(folder / "model"), None, trust)
            path = keep(folder / "model", registry.models_folder, "" if is_copy else str(model.folder))
        options["parameters"] = options.get("parameters", Parameters()).over(parameters)
        options["task"] = options.get("task") or TASKS.get(str(model.flavors[TRANSFORMERS].get("task")), "")
    else:
        path = keep(model.folder, registry.models_folder) if is_copy else model.folder
        scorer = _read_scorer(pinned.uri, replace(model, folder=path), trust, types)
    checked = find_source(str(path), None, trust, False, scorer)
    files = SourceFiles(checked.path, pinned.revision)
    version = registry.register(name, pinned.uri, files=files, scorer=scorer, **options)
    if ignored:
        _log.warning("%s: its inference config has settings that mean nothing here: %s", version, ", ".join(ignored))
    return version


def _read_scorer(uri: str, model: MlModel, trust: bool, types: dict[str, Any]) -> Scorer:
    """How worker processes score an MLflow model, tried out. An error names the versions that it was logged with."""
    if not trust:
        raise ModelUnusable(f"{uri} can run code of its author. If you trust it, add --trust")
    different = ", ".join(other_versions(model))
    try:
        scorer = probe_scorer(model.folder, "mlflow", **types)
    except ModelUnusable as error:
        reason = f". It was logged with other versions: {different}" if different else ""
        absent = absent_libraries(model)
        install = f". To install what is missing: pip install {' '.join(absent)}" if absent else ""
        raise ModelUnusable(f"{error}{reason}{install}") from error
    if different:
        _log.warning("%s was logged with other versions, which may change its results: %s", uri, different)
    return scorer


def _link(file: Path, target: Path) -> None:
    target.symlink_to(file.resolve())
