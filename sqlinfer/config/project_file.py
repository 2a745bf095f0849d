"""The project file, sqlinfer.yml: its keys and what they hold. Knows no model, no SQL and no template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlinfer.config.job_settings import NAMES, read_settings
from sqlinfer.errors import SqlinferError, nearest

KEYS = ("name", "database", "model", "vars", "settings", "mlflow")
_MLFLOW_KEYS = ("tracking_uri", "experiment")
_NAME = re.compile(r"\w[\w .-]{0,59}")


@dataclass(frozen=True, slots=True)
class MlflowSettings:
    """Where jobs are recorded as runs.

    tracking_uri: of the server; None leaves it to MLFLOW_TRACKING_URI, which stands above it.
    experiment: its name; None leaves it to MLFLOW_EXPERIMENT_NAME, which stands above it.
    """

    tracking_uri: str | None = None
    experiment: str | None = None


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """The contents of sqlinfer.yml.

    name: of the project; None: that of the folder.
    database: the DuckDB file, relative to the project's folder.
    model: the default model.
    vars: values of {{ var(..) }}.
    settings: of jobs.
    mlflow: whether and where jobs are recorded in MLflow.
    """

    name: str | None = None
    database: str | None = None
    model: str | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    mlflow: MlflowSettings | None = None


def read_project_file(path: Path | None) -> ProjectFile:
    """Read a project file; an error names the file and the key. None is a file that says nothing."""
    if path is None:
        return ProjectFile()
    content = read_yaml(path)
    unknown = [str(name) for name in content if name not in KEYS]
    if unknown:
        hint = f"Put {unknown[0]} below `settings:`." if unknown[0] in NAMES else nearest(unknown[0], KEYS)
        raise SqlinferError(f"{path}: there is no key {unknown[0]}. {hint}")
    for key in ("vars", "settings"):
        if not isinstance(content.get(key) or {}, Mapping):
            raise SqlinferError(
                f"{path}: expected names and values below {key}, as `{key}:` with `max_retries: 5` indented below it"
            )
    for key in ("name", "database", "model"):
        if not isinstance(content.get(key), str | None):
            raise SqlinferError(f"{path}: {key} must be a text, not {content[key]!r}")
    name = content.get("name")
    if name is not None and not _NAME.fullmatch(name):
        raise SqlinferError(
            f"{path}: name must be of letters, digits, blanks and . _ -, as it is part of file names, not {name!r}"
        )
    settings = {str(key): value for key, value in (content.get("settings") or {}).items()}
    return ProjectFile(
        name=name,
        database=content.get("database"),
        model=content.get("model"),
        vars={str(name): value for name, value in (content.get("vars") or {}).items()},
        settings=read_settings(settings, str(path)),
        mlflow=_read_mlflow(path, content["mlflow"] or {}) if "mlflow" in content else None,
    )


def _read_mlflow(path: Path, content: Any) -> MlflowSettings:
    if not isinstance(content, Mapping) or not all(isinstance(value, str) for value in content.values()):
        raise SqlinferError(
            f"{path}: expected texts below mlflow, as `mlflow:` with `experiment: news` indented below it, not "
            f"{content!r}"
        )
    unknown = [str(key) for key in content if key not in _MLFLOW_KEYS]
    if unknown:
        raise SqlinferError(f"{path}: there is no key {unknown[0]} below mlflow. {nearest(unknown[0], _MLFLOW_KEYS)}")
    return MlflowSettings(**content)


def read_yaml(path: Path) -> Mapping[str, Any]:
    """The names and values of a YAML file; an error names the file."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SqlinferError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, Mapping):
        raise SqlinferError(f"{path}: expected names and values, as `name: value`, not {content!r}")
    return content
