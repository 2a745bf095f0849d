"""A deployment file as the options of `sqlinfer models register`; those of the command line win."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sqlinfer.cli.state import open_store
from sqlinfer.errors import ModelNotFound, SqlinferError
from sqlinfer.model_files import CONFIG

if TYPE_CHECKING:
    from sqlinfer.config.deployment_file import Deployment
    from sqlinfer.store import Registry
    from sqlinfer.types import ModelVersion

_MODELS = (CONFIG, "MLmodel")
"""Files of a folder that is a model without a script."""


@dataclass(frozen=True, slots=True)
class DeploymentOptions:
    """What a deployment file gives to a registration.

    name, source: of the model.
    alias: that this version gets; "" for none.
    settings: of jobs.
    tags: by key.
    options: script and description, as the command line has them.
    unused: why a field of the file means nothing here, by the field.
    """

    name: str
    source: str
    alias: str
    settings: Mapping[str, Any]
    tags: Mapping[str, str]
    options: Mapping[str, Any]
    unused: Mapping[str, str]

    def set_alias(self, registry: Registry, version: ModelVersion) -> None:
        """Let the deployment's name mean a version."""
        if self.alias:
            registry.set_alias(version.name, self.alias, version.version)

    def echo(self) -> None:
        """Say what the file has beyond the model and its settings."""
        if self.alias:
            click.echo(f"{self.name}@{self.alias} is this version")
        if self.unused:
            click.echo("Not taken into the registration:")
            for field, why in self.unused.items():
                click.echo(f"  {field}: {why}")


def read_options(file: str, name: str | None, source: str | None, options: Mapping[str, Any]) -> DeploymentOptions:
    """The options in a deployment file. name, source, options: as the command line has them; None or "" means not
    given."""
    from sqlinfer.config.deployment_file import read_deployment

    deployment = read_deployment(Path(file))
    unused = dict(deployment.unused)
    name = name or deployment.endpoint or deployment.name
    if not name:
        raise SqlinferError(f"{file} has no endpoint_name. Name the model: sqlinfer models register NAME --from {file}")
    source = source or deployment.source or _registered(deployment, file, name)
    script = options.get("script")
    if deployment.script is not None and script is None:
        if options.get("returns") or not _is_model(source):
            source, script = deployment.script_folder(source)
        else:
            unused["code_configuration"] = (
                "the model runs without a script; to score with it, add --returns TYPE --trust"
            )
    alias = _alias(deployment.name, unused)
    description = options.get("description") or deployment.description
    merged = {"script": script, "description": description}
    return DeploymentOptions(name, source, alias, deployment.settings, deployment.tags, merged, unused)


def _is_model(source: str) -> bool:
    folder = Path(source)
    return not folder.exists() or any((folder / file).is_file() for file in _MODELS)


def _alias(name: str, unused: dict[str, str]) -> str:
    """The deployment's name as an alias; "" if it cannot be one."""
    from sqlinfer.store.names import check_alias
    from sqlinfer.store.registry import DEPLOYED, REPLACED

    if name in (DEPLOYED, REPLACED):
        unused["name"] = f"the alias {name} says what is deployed: sqlinfer models deploy NAME VERSION"
        return ""
    try:
        check_alias(name)
    except SqlinferError as error:
        if name:
            unused["name"] = str(error)
        return ""
    return name


def _registered(deployment: Deployment, file: str, name: str) -> str:
    """The source of the model that is registered here under the name that it has in the workspace."""
    assert deployment.asset is not None
    asset, version = deployment.asset
    with open_store() as store:
        for written in (f"{asset}/{version}", asset) if version.isdigit() else (asset,):
            try:
                return store.registry.get(written).source
            except ModelNotFound:
                continue
    download = f"az ml model download --name {asset}" + (f" --version {version}" if version.isdigit() else "")
    raise SqlinferError(
        f"{file}: model {asset} lies in a workspace, and no model of that name is registered here. Download it "
        f"({download}) and name its folder: sqlinfer models register {name} ./{asset} --from {file}"
    )
