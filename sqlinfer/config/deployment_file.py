"""A deployment of a cloud batch endpoint as YAML (Azure ML's schema), read for what it says of a model and its jobs.

An endpoint is a name here, a deployment one of its versions with an alias. Knows no registry and no model.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlinfer.config.job_settings import read_registration
from sqlinfer.config.project_file import read_yaml
from sqlinfer.errors import SqlinferError, nearest

_SETTINGS = ("max_concurrency_per_instance", "mini_batch_size", "error_threshold", "logging_level")
_RETRIES = ("max_retries", "timeout")
_STATEMENT = {
    "output_action": "a statement says it: INSERT INTO, CREATE TABLE .. AS, or SET sqlinfer_output_action = '{}'",
    "output_file_name": "a statement names its file: COPY (SELECT ..) TO '{}'",
}
_IN_SETTINGS = (*_SETTINGS, *_STATEMENT, "retry_settings", "environment_variables")
_NOT_HERE = {
    "environment": "models run in the Python environment of sqlinfer: install there what they import",
    "compute": "models run on this machine",
    "resources": "there is one machine; worker processes of a script are counted by max_concurrency_per_instance",
    "properties": "a registration has tags",
}
_READ = ("name", "endpoint_name", "description", "tags", "model", "code_configuration", "settings")
_SILENT = ("$schema", "type")
_ASSET = re.compile(r"azureml:(?://.*/models/)?(?P<name>[^/:@]+)(?:(?:[:@]|/versions/|/labels/)(?P<version>[^/:@]+))?")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a deployment file says that means something here.

    endpoint, name: of the endpoint, and of this deployment of it; "" if the file has none.
    source: the model's folder or file, or where MLflow has it; None if it lies in a workspace.
    asset: its name and version in the workspace; None if it lies here.
    script: the scoring script; None without one.
    settings: of jobs, by the names of JobSettings.
    unused: why a field means nothing here, by the field.
    """

    endpoint: str
    name: str
    description: str
    tags: Mapping[str, str]
    source: str | None
    asset: tuple[str, str] | None
    script: Path | None
    settings: Mapping[str, Any]
    unused: Mapping[str, str]

    def script_folder(self, source: str) -> tuple[str, str]:
        """The folder that holds both a source and the script, and the script's path in it. Scripts know the folder
        above their model as AZUREML_MODEL_DIR."""
        assert self.script is not None
        folder = Path(source)
        if not self.script.is_relative_to(folder):
            folder = Path(os.path.commonpath([folder.parent, self.script.parent]))
        return str(folder), self.script.relative_to(folder).as_posix()


def read_deployment(path: Path) -> Deployment:
    """Read a deployment file; an error names the file and the field."""
    content = read_yaml(path)
    if content.get("type", "model") != "model":
        raise SqlinferError(
            f"{path}: type {content['type']!r} deploys no model. For a pipeline of several steps make a project: "
            "sqlinfer init"
        )
    if "model" not in content and {"auth_mode", "defaults"} & content.keys():
        raise SqlinferError(
            f"{path} is the file of an endpoint. Its deployments' files name their models: give one of these"
        )
    settings, unused = _settings(path, content)
    source, asset = _model(path, content.get("model"))
    code = _mapping(path, "code_configuration", content.get("code_configuration"))
    script = None
    if "scoring_script" in code:
        script = (path.parent / str(code.get("code", ".")) / str(code["scoring_script"])).resolve()
        if not script.is_file():
            raise SqlinferError(f"{path}: code_configuration: there is no file {script}")
    return Deployment(
        str(content.get("endpoint_name", "")),
        str(content.get("name", "")),
        str(content.get("description", "")).strip(),
        {str(key): str(value) for key, value in _mapping(path, "tags", content.get("tags")).items()},
        source,
        asset,
        script,
        settings,
        unused,
    )


def _settings(path: Path, content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of jobs, and why other fields are not used. They stand below settings, or, in older files, at the
    top."""
    nested = _mapping(path, "settings", content.get("settings"))
    for name in nested:
        if name in content:
            raise SqlinferError(f"{path}: {name} stands at the top and below settings; leave one of them")
    fields = {name: content[name] for name in content if name in _IN_SETTINGS} | dict(nested)
    retries = _mapping(path, "retry_settings", fields.get("retry_settings"))
    settings = {name: fields[name] for name in _SETTINGS if name in fields}
    settings |= {name: retries[name] for name in _RETRIES if name in retries}
    variables = _mapping(path, "environment_variables", fields.get("environment_variables"))
    if variables:
        settings["environment"] = {str(name): str(value) for name, value in variables.items()}
    read_registration(settings, str(path))
    unused = {name: why for name, why in _NOT_HERE.items() if name in content}
    unused |= {name: why.format(fields[name]) for name, why in _STATEMENT.items() if name in fields}
    known = (*_READ, *_IN_SETTINGS, *_NOT_HERE)
    unused |= {str(name): _unknown(str(name), known) for name in content if name not in (*known, *_SILENT)}
    unused |= {f"settings.{name}": _unknown(str(name), _IN_SETTINGS) for name in nested if name not in _IN_SETTINGS}
    unused |= {f"retry_settings.{name}": _unknown(str(name), _RETRIES) for name in retries if name not in _RETRIES}
    return settings, unused


def _model(path: Path, model: Any) -> tuple[str | None, tuple[str, str] | None]:
    """Where the model is: the source, or its name and version in a workspace."""
    if isinstance(model, Mapping):
        model = model.get("path") or f"azureml:{model.get('name', '')}:{model.get('version', '')}"
    if not isinstance(model, str) or not model:
        raise SqlinferError(f"{path}: model must be a path, azureml:NAME:VERSION, or have a path, not {model!r}")
    if model.startswith("azureml:"):
        match = _ASSET.fullmatch(model)
        if match is None:
            raise SqlinferError(
                f"{path}: {model} lies in a workspace. Download it, and name its folder: "
                f"sqlinfer models register NAME ./FOLDER --from {path}"
            )
        return None, (match["name"], match["version"] or "")
    if "://" in model or re.match(r"(models|runs):/", model):
        return model, None
    return str((path.parent / Path(model.removeprefix("file:")).expanduser()).resolve()), None


def _mapping(path: Path, field: str, value: Any) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise SqlinferError(f"{path}: {field} must have names and values, not {value!r}")
    return value or {}


def _unknown(name: str, known: tuple[str, ...]) -> str:
    return f"no field of a batch deployment. {nearest(name, known)}"
