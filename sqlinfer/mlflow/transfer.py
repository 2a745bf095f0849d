"""Models between MLflow's registry and the one here: versions, aliases, tags and descriptions, both ways."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlinfer.errors import SqlinferError
from sqlinfer.mlflow.client import open_client
from sqlinfer.mlflow.export_folder import check_exportable, write_mlflow_folder
from sqlinfer.mlflow.job_run import experiment_id
from sqlinfer.mlflow.registration import register_model
from sqlinfer.mlflow.source import (
    all_versions,
    find_registered_model,
    is_mlflow_uri,
    pin,
    registered_model,
    version_source,
)
from sqlinfer.store import Registry
from sqlinfer.store.names import parse_reference
from sqlinfer.types import ModelVersion

FINGERPRINT = "sqlinfer.fingerprint"
"""The tag of an exported version in MLflow: a version with the same files is not exported again."""
DESCRIPTION = "description"
"""The tag that holds the description of a single version: only a name has one here."""
_OWN_TAGS = ("mlflow.", "sqlinfer.")
_ARTIFACTS = "model"
_log = logging.getLogger("sqlinfer")


def import_model(registry: Registry, source: str, name: str = "", trust: bool = False) -> list[ModelVersion]:
    """Register the versions of a model of MLflow's registry, or the one of a URI, with what MLflow says of them.

    A version that cannot be registered is left out with a warning. name: here; by default as in MLflow.
    """
    with open_client() as client:
        uri = pin(client, source).uri if is_mlflow_uri(source) else ""
        if uri.startswith("runs:/") or uri.startswith("models:/m-"):
            if not name:
                raise SqlinferError(f"{source} has no name. Say one: sqlinfer models import {source} --as NAME")
            return [register_model(registry, name, uri, trust=trust)]
        model = registered_model(client, uri.split("/")[1] if uri else source)
        name = name or model.name
        wanted = [v for v in all_versions(client, model.name) if not uri or version_source(v).uri == uri]
        imported = _each(wanted, lambda v: register_model(registry, name, version_source(v).uri, trust=trust).version)
        _import_facts(registry, name, model, imported)
    numbers = {number for _, number in imported}
    return [version for version in registry.versions(name) if version.version in numbers]


def _each(versions: Sequence[Any], transfer: Callable[[Any], Any]) -> list[tuple[Any, Any]]:
    """What becomes of each version; one that fails costs a warning, and an error if no other one is left."""
    transferred = []
    problem: SqlinferError | None = None
    for version in versions:
        try:
            transferred.append((version, transfer(version)))
        except SqlinferError as error:
            problem = problem or error
            _log.warning("version %s of %s is left out: %s", version.version, version.name, error)
    if problem is not None and not transferred:
        raise problem
    return transferred


def _import_facts(registry: Registry, name: str, model: Any, imported: Sequence[tuple[Any, int]]) -> None:
    """imported: versions of MLflow, each with its number here."""
    if model.description:
        registry.describe(name, model.description)
    for key, value in _foreign(model.tags).items():
        registry.tag(name, key, value)
    for version, number in imported:
        description = {DESCRIPTION: version.description} if version.description else {}
        for key, value in (_foreign(version.tags) | description).items():
            registry.tag(name, key, value, number)
        for alias, aliased in model.aliases.items():
            if str(aliased) == str(version.version):
                try:
                    registry.set_alias(name, alias, number)
                except SqlinferError as error:  # of an alias that is none here
                    _log.warning("alias %s of %s is left out: %s", alias, name, error)


def export_model(registry: Registry, written: str, name: str = "") -> dict[str, str]:
    """Put a model, or one version 'name/3', into MLflow's registry; the URI there of each version.

    name: in MLflow; by default as here. A version that is there already is not copied again.
    """
    reference = parse_reference(written)
    is_one = reference.version is not None or reference.alias is not None
    versions = [registry.get(written)] if is_one else list(registry.versions(reference.name))
    local, name = versions[0].name, name or versions[0].name.replace("/", "-")
    versions = [version for version, _ in _each(versions, check_exportable)]
    with open_client() as client:
        existing = _create_registered_model(client, name)
        numbers = {
            version.version: existing.get(version.fingerprint)
            or existing.get(version.revision or "")
            or _export_version(client, name, version)
            for version in versions
        }
        _export_facts(client, name, registry, versions[0], numbers)
    return {f"{local}/{version}": f"models:/{name}/{number}" for version, number in numbers.items()}


def _export_facts(client: Any, name: str, registry: Registry, model: ModelVersion, numbers: Mapping[int, str]) -> None:
    """numbers: versions here, each with its number in MLflow."""
    if model.description:
        client.update_registered_model(name, model.description)
    for key, value in registry.tags(model.name).items():
        client.set_registered_model_tag(name, key, value)
    for version, number in numbers.items():
        for key, value in registry.tags(model.name, version).items():
            if key == DESCRIPTION:
                client.update_model_version(name, number, value)
            else:
                client.set_model_version_tag(name, number, key, value)
    for alias, version in registry.aliases(model.name).items():
        if version in numbers:
            client.set_registered_model_alias(name, alias, numbers[version])


def _create_registered_model(client: Any, name: str) -> dict[str, str]:
    """MLflow's numbers of the versions that are there, by fingerprint and by the id of the logged model."""
    if find_registered_model(client, name) is None:
        client.create_registered_model(name)
    versions = all_versions(client, name)
    by_id = {version_source(version).revision: version.version for version in versions}
    return by_id | {v.tags[FINGERPRINT]: v.version for v in versions if FINGERPRINT in v.tags}


def _export_version(client: Any, name: str, version: ModelVersion) -> str:
    """Copy a version's files to MLflow as artifacts of a run, and register them; the number that MLflow gives."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_mlflow_folder(version, Path(folder))
        run = client.create_run(experiment_id(client), run_name=f"export of {version}")
        client.log_artifacts(run.info.run_id, str(files), _ARTIFACTS)
        client.set_terminated(run.info.run_id)
    source = f"{run.info.artifact_uri}/{_ARTIFACTS}"
    tags = {FINGERPRINT: version.fingerprint}
    return str(client.create_model_version(name, source, run.info.run_id, tags=tags).version)


def _foreign(tags: dict[str, str]) -> dict[str, str]:
    """Without what MLflow and sqlinfer note for themselves."""
    return {key: value for key, value in tags.items() if not key.startswith(_OWN_TAGS)}
