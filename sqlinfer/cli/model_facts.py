"""Facts about models, as the commands print them: by name, as tables, with their default parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlinfer.cli.tables import echo_json, echo_table
from sqlinfer.config.remote_source import is_remote
from sqlinfer.errors import SqlinferError
from sqlinfer.remote import describe
from sqlinfer.types import ModelVersion

if TYPE_CHECKING:
    from sqlinfer.store import Registry


def echo_versions(registry: Registry, versions: Sequence[ModelVersion], as_json: bool) -> None:
    """Print versions as a table or as JSON."""
    facts = [facts_of(registry, version) for version in versions]
    if as_json:
        echo_json(facts)
        return
    names = ("name", "version", "task", "dtype", "source", "aliases", "tags", "description")
    rows = []
    for fact in facts:
        aliases = ", ".join(f"{name}={version}" for name, version in fact["aliases"].items())
        tags = ", ".join(f"{key}={value}" for key, value in fact["tags"].items())
        rows.append([fact[name] for name in names[:5]] + [aliases, tags, fact["description"]])
    echo_table(names, rows)


def generation_of(version: ModelVersion) -> dict[str, Any]:
    """The default parameters of a model's calls: those of the registration, then the model's own.

    Of a model that does not generate: its labels, or how it embeds, and how many tokens it reads; of one
    that worker processes score: its types; of one behind an address: where its server is, and whence its key comes.
    """
    if version.scorer is not None:
        return asdict(version.scorer)
    if is_remote(version.source):
        return describe(version)
    from sqlinfer.engine import open_engine
    from sqlinfer.errors import ModelUnusable

    try:
        return open_engine(version).describe()
    except ModelUnusable as error:
        return {"unusable": str(error)}


def facts_of(registry: Registry, version: ModelVersion) -> dict[str, Any]:
    """The facts about a version, by name."""
    try:
        versions = [registered.version for registered in registry.versions(version.name)]
    except SqlinferError:
        versions = []  # built-in, or a folder or hub id that has no name here
    return {
        "name": version.name,
        "version": version.version,
        "source": version.source,
        "revision": version.revision,
        "path": None if is_remote(version.source) else str(version.path),
        "task": version.task,
        "dtype": version.dtype,
        "parameters": {name: value for name, value in asdict(version.parameters).items() if value is not None},
        "description": version.description,
        "tags": dict(version.tags),
        "aliases": registry.aliases(version.name),
        "versions": versions,
        "fingerprint": version.fingerprint,
        "trusted": version.trusted,
    }
