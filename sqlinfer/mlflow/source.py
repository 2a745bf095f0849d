"""Finds what an MLflow URI means now, and copies its files: 'models:/name/3', 'models:/name@alias', 'runs:/ID/path'."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlinfer.errors import ModelNotFound, ModelUnusable, nearest
from sqlinfer.mlflow.client import is_missing, registry_uri
from sqlinfer.model_files import MLMODEL
from sqlinfer.store import make_folder
from sqlinfer.store.fingerprint import fingerprint

SCHEMES = ("models:/", "runs:/")
_LOGGED = "m-"
"""How the ids of logged models begin."""
_SHOWN = 8
_FORMS = "Write models:/NAME/3, models:/NAME@ALIAS, models:/NAME/latest or runs:/RUN_ID/PATH"


@dataclass(frozen=True, slots=True)
class MlflowSource:
    """A model on an MLflow server, of which no part can change.

    uri: with a version, where another one had an alias.
    revision: the id of the logged model, else of the run.
    """

    uri: str
    revision: str | None = None


def is_mlflow_uri(source: str) -> bool:
    """Whether a source is written as a model of an MLflow server."""
    return source.startswith(SCHEMES)


def pin(client: Any, uri: str) -> MlflowSource:
    """The model that a URI means now. ModelNotFound names what there is."""
    scheme, _, rest = uri.partition(":/")
    if scheme == "runs":
        return _pin_run(client, rest.strip("/"))
    name, at, alias = rest.strip("/").partition("@")
    name, _, version = name.partition("/")
    if name.startswith(_LOGGED) and not version and not at:
        logged = _get(client.get_logged_model, name)
        if logged is None:
            raise ModelNotFound(f"{uri}: this MLflow server has no logged model {name}")
        return MlflowSource(uri, name)
    if not name or bool(at) == bool(version):
        raise ModelNotFound(f"{uri!r} names no version of a model. {_FORMS}")
    return version_source(_find_version(client, name, alias, version))


def version_source(version: Any) -> MlflowSource:
    """The source that a version of MLflow's registry is."""
    logged = str(version.source).removeprefix("models:/")  # of a model that was logged by itself, as MLflow 3 does
    model_id = getattr(version, "model_id", None) or (logged if logged.startswith(_LOGGED) else None)
    return MlflowSource(f"models:/{version.name}/{version.version}", model_id or version.run_id)


def _pin_run(client: Any, rest: str) -> MlflowSource:
    run_id, _, path = rest.partition("/")
    run = _get(client.get_run, run_id)
    if run is None:
        raise ModelNotFound(f"MLflow has no run {run_id!r}. {nearest(run_id, _last_runs(client))}".rstrip())
    outputs = getattr(run.outputs, "model_outputs", None) or []
    logged = {model.name: model.model_id for model in (client.get_logged_model(o.model_id) for o in outputs)}
    if not path or (path not in logged and not client.list_artifacts(run_id, path)):
        known = [*logged, *(artifact.path for artifact in client.list_artifacts(run_id))]
        raise ModelNotFound(f"Run {run_id} holds no model {path!r}. {nearest(path, known)}".rstrip())
    return MlflowSource(f"runs:/{run_id}/{path}", logged.get(path, run_id))


def _last_runs(client: Any) -> list[str]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=_SHOWN) if experiments else []
    return [run.info.run_id for run in runs]


def find_registered_model(client: Any, name: str) -> Any:
    """A model of MLflow's registry; None if there is none."""
    return _get(client.get_registered_model, name)


def registered_model(client: Any, name: str) -> Any:
    """A model of MLflow's registry. ModelNotFound names what is near."""
    model = find_registered_model(client, name)
    if model is None:
        known = [registered.name for registered in client.search_registered_models()]
        raise ModelNotFound(f"MLflow has no registered model {name!r}. {nearest(name, known)}".rstrip())
    return model


def _find_version(client: Any, name: str, alias: str, version: str) -> Any:
    model = registered_model(client, name)
    if alias and alias not in model.aliases:
        raise ModelNotFound(f"{name} in MLflow has no alias {alias!r}. {nearest(alias, model.aliases)}".rstrip())
    versions = {str(version.version): version for version in all_versions(client, name)}
    number = str(model.aliases[alias]) if alias else version
    if number == "latest" and versions:
        return list(versions.values())[-1]
    if number not in versions:
        aliases = ", ".join(f"{alias}={version}" for alias, version in model.aliases.items())
        known = [f"versions {', '.join(versions)}"] * bool(versions) + [f"aliases {aliases}"] * bool(aliases)
        raise ModelNotFound(
            f"{name} in MLflow has no version {number!r}. It has {' and '.join(known) or 'no version at all'}"
        )
    return versions[number]


def all_versions(client: Any, name: str) -> list[Any]:
    """The versions of a model in MLflow's registry, oldest first."""
    quoted = name.replace("'", "\\'")
    versions, token = [], None
    while True:
        page = client.search_model_versions(f"name='{quoted}'", page_token=token)
        versions += page
        token = page.token
        if not token:
            return sorted(versions, key=lambda version: int(version.version))


def download(client: Any, source: MlflowSource, folder: Path) -> Path:
    """Copy the files of a model into a folder; where its MLmodel file is then. ModelUnusable if there is none."""
    from mlflow.artifacts import download_artifacts

    uri = client.tracking_uri
    download_artifacts(source.uri, dst_path=str(folder), tracking_uri=uri, registry_uri=registry_uri(uri))
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    model = next((file.parent for file in files if file.name == MLMODEL), None)
    if model is None:
        names = ", ".join(file.name for file in files[:_SHOWN]) or "nothing"
        raise ModelUnusable(f"{source.uri} is no MLflow model: it has no file {MLMODEL}. It holds {names}")
    return model


@contextmanager
def staging(area: Path) -> Iterator[Path]:
    """An empty folder in the area of models, which is gone afterwards."""
    make_folder(area)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=area) as folder:
        yield Path(folder)


def keep(folder: Path, area: Path, origin: str = "") -> Path:
    """Move a folder in the area of models to its place, which its content and origin name; the place."""
    place = area / fingerprint(folder, {"scorer": origin})
    if not place.exists():
        folder.rename(place)
    return place


def _get(read: Callable[[str], Any], key: str) -> Any:
    """What MLflow has under a key; None if it has nothing."""
    from mlflow.exceptions import MlflowException

    try:
        return read(key)
    except MlflowException as error:
        if is_missing(error):
            return None
        raise
