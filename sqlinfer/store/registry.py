"""The models: names, versions that never change, aliases, tags, and the model for each task.

Knows where files lie and that they are whole; loads no weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from sqlinfer.config.job_settings import read_registration
from sqlinfer.config.remote_source import REMOTE_SETTINGS, is_remote
from sqlinfer.errors import ModelNotFound, ModelUnusable, SqlinferError, nearest
from sqlinfer.store.database import Database, printable
from sqlinfer.store.default_models import DefaultModels
from sqlinfer.store.fingerprint import FileHashes
from sqlinfer.store.hosts import AllowedHosts
from sqlinfer.store.lock import RegistryLock
from sqlinfer.store.names import Reference, check_alias, check_name, parse_reference
from sqlinfer.store.source import SourceFiles, is_folder, is_hub_id
from sqlinfer.store.version_files import VersionFiles, check_pinned
from sqlinfer.store.versions import add_version, read_versions
from sqlinfer.types import DTYPES, ModelVersion, Parameters, Scorer, Task

TASKS: tuple[str, ...] = get_args(Task)

DEPLOYED, REPLACED = "default", "previous"
"""Aliases: the version that a name means, else the newest; and the one that it meant before."""

Builtins = Mapping[str, ModelVersion]


class Registry:
    """Finds, adds and lists models.

    builtins: models that sqlinfer brings, by name; version 0, fingerprint "". defaults: the built-in default for each
    task, "" for any. allow_download: whether a hub id that is not in the local cache is fetched; off, it is an error.
    lock: see RegistryLock. hosts: see AllowedHosts. models_folder: where copies of models lie that have no folder of
    their own.
    """

    def __init__(
        self,
        database: Database,
        builtins: Builtins | None = None,
        defaults: Mapping[str, str] | None = None,
        allow_download: bool = False,
    ) -> None:
        self._database = database
        self._builtins = builtins or {}
        self.models_folder = (database.path or Path.cwd()).parent / "models"
        self.defaults = DefaultModels(database, defaults or {})
        self.lock = RegistryLock(database)
        self.hosts = AllowedHosts(database)
        self._files = VersionFiles(FileHashes(database), self.hosts, self.models_folder, allow_download)

    def register(  # noqa: PLR0913 - what a user may say of a model, by keyword
        self,
        name: str,
        source: str,
        *,
        revision: str | None = None,
        task: str = "",
        dtype: str = "auto",
        parameters: Parameters = Parameters(),  # noqa: B008 - frozen
        description: str = "",
        tags: Mapping[str, str] | None = None,
        trust: bool = False,
        fingerprint: str | None = None,
        settings: Mapping[str, Any] | None = None,
        scorer: Scorer | None = None,
        files: SourceFiles | None = None,
    ) -> ModelVersion:
        """Register a folder, a hub id or an address under a name; a name that is there gets its next version.

        The same files with the same parameters are the same version: registering them again adds none.
        description and tags, if given, are the name's from now on. fingerprint: what the model must have, or
        ModelUnusable. settings: of the jobs that use it; no part of what a version is, so that they may change.
        scorer: how worker processes score it, of a model that no engine runs. files: the checked copy of a source that
        is neither a folder nor a hub id.
        """
        check_name(name)
        if name in self._builtins:
            raise SqlinferError(f"{name!r} is a built-in model. Choose another name.")
        _check_choice("task", task, TASKS)
        _check_choice("dtype", dtype, DTYPES)
        files = files or self._files.find(source, revision, trust, scorer)
        source = files.source or source
        model = ModelVersion(name, 0, source, files.path, "", files.revision, task, dtype, parameters, trusted=trust)
        settings = {**(REMOTE_SETTINGS if is_remote(source) else {}), **(settings or {})}
        model = replace(model, settings=read_registration(settings, f"model {name}"), scorer=scorer)
        model = self._files.with_fingerprint(model)
        check_pinned(model, fingerprint)
        with self._database.writing() as connection:
            version = add_version(connection, model)
            if description:
                connection.execute("UPDATE models SET description = ? WHERE name = ?", (printable(description), name))
            connection.executemany(
                "INSERT OR REPLACE INTO tags VALUES (?, 0, ?, ?)",
                [(name, tag, printable(value)) for tag, value in (tags or {}).items()],
            )
        return self._one(Reference(name, version=version))

    def get(self, written: str) -> ModelVersion:
        """The model version behind 'name' (the deployed one, else the newest), 'name@alias', 'name/3', 'org/name' of
        the hub, './folder', or 'preset:model' behind an address.

        ModelNotFound names what is near; ModelUnusable if its files are incomplete or have changed.
        """
        if is_folder(written) or is_remote(written):
            return self._unregistered(written, written)
        # A name stands before the version of a name: 'org/7' may be registered as neither.
        reference = parse_reference(written)
        if self._versions(reference.name):
            return self._files.check_intact(self._one(reference))
        if written in self._builtins:
            return self._files.with_fingerprint(self._builtins[written])
        if "/" in written and is_hub_id(written):
            try:
                return self._unregistered(written, reference.name)
            except ModelNotFound as error:
                raise ModelNotFound(f"No model {written!r} is registered. {self._nearest(written)} {error}") from error
        source = written if ":/" in written else "SOURCE"
        raise ModelNotFound(f"No model {written!r} is registered. {self._known(reference.name, source)}")

    def check_unchanged(self, model: ModelVersion) -> None:
        """Raise ModelUnusable if a model's files are no longer those that its fingerprint was made of."""
        if self._files.fingerprint(model) != model.fingerprint:
            raise ModelUnusable(
                f"The files of {model} in {model.path} changed while they were read, so its answers are not kept. "
                "Run the statement again."
            )

    def list(self) -> Sequence[ModelVersion]:
        """The newest version of each name, then the built-in models; these with fingerprint "" until asked for."""
        newest = {model.name: model for model in self._versions()}
        built_in = [version for name, version in self._builtins.items() if name not in newest]
        return sorted(newest.values(), key=lambda model: model.name) + sorted(built_in, key=lambda model: model.name)

    def versions(self, name: str) -> Sequence[ModelVersion]:
        """All versions of a name, oldest first."""
        versions = self._versions(name)
        if not versions:
            raise ModelNotFound(f"No model {name!r} is registered. {self._known(name)}")
        return versions

    def search(self, text: str) -> Sequence[ModelVersion]:
        """The models whose name, description, task or tags hold every word of the text, in any case of letters."""
        words = text.lower().split()

        def searchable_text(model: ModelVersion) -> str:
            tags = " ".join(f"{tag}={value} {tag} {value}" for tag, value in model.tags.items())
            return f"{model.name} {model.description} {model.task} {model.source} {tags}".lower()

        return [model for model in self.list() if all(word in searchable_text(model) for word in words)]

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let 'name@alias' mean a version; an alias that is there moves."""
        check_alias(alias)
        model = self._one(Reference(name, version=version))
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", (name, alias, model.version))

    def deploy(self, name: str, version: int) -> None:
        """Let 'name' mean a version, whichever is registered after it; `rollback` undoes it."""
        before = self._one(Reference(name))
        model = self._one(Reference(name, version=version))
        if model.version != before.version:
            self.set_alias(name, REPLACED, before.version)
        self.set_alias(name, DEPLOYED, model.version)

    def rollback(self, name: str) -> ModelVersion:
        """Let 'name' mean what it meant before the last `deploy` or `rollback`; that version."""
        before = self._one(Reference(name))
        replaced = self.aliases(name).get(REPLACED)
        if replaced is None:
            raise SqlinferError(f"{name} was never another version. Deploy one: sqlinfer models deploy {name} VERSION")
        self.deploy(name, replaced)
        self.set_alias(name, REPLACED, before.version)
        return self._one(Reference(name))

    def drop_alias(self, name: str, alias: str) -> None:
        """Take an alias away."""
        self._one(Reference(name, alias=alias))
        with self._database.writing() as connection:
            connection.execute("DELETE FROM aliases WHERE name = ? AND alias = ?", (name, alias))

    def aliases(self, name: str) -> dict[str, int]:
        """The aliases of a name and their versions."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT alias, version FROM aliases WHERE name = ? ORDER BY alias", (name,))
            return {str(alias): int(version) for alias, version in rows}

    def tag(self, name: str, tag: str, value: str, version: int | None = None) -> None:
        """Set a tag of all versions of a name, or of one version."""
        self._one(Reference(name, version=version))
        with self._database.writing() as connection:
            row = (name, version or 0, tag, printable(value))
            connection.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)", row)

    def untag(self, name: str, tag: str, version: int | None = None) -> None:
        """Take a tag away."""
        self._one(Reference(name, version=version))
        own = self.tags(name, version or 0)
        if tag not in own:
            tagged = name if version is None else f"{name}/{version}"
            raise SqlinferError(f"{tagged} has no tag {tag!r} of its own. {nearest(tag, own)}".rstrip())
        with self._database.writing() as connection:
            row = (name, version or 0, tag)
            connection.execute("DELETE FROM tags WHERE name = ? AND version = ? AND tag = ?", row)

    def tags(self, name: str, version: int = 0) -> dict[str, str]:
        """The tags of a name, or those of one version alone."""
        with self._database.reading() as connection:
            query = "SELECT tag, value FROM tags WHERE name = ? AND version = ? ORDER BY tag"
            return {str(tag): str(value) for tag, value in connection.execute(query, (name, version))}

    def describe(self, name: str, text: str) -> None:
        """Set the description of a name."""
        self.versions(name)
        with self._database.writing() as connection:
            connection.execute("UPDATE models SET description = ? WHERE name = ?", (printable(text), name))

    def remove(self, written: str) -> None:
        """Forget 'name', or one version 'name/3'; files and answers stay, and version numbers are not used again."""
        reference = parse_reference(written)
        model = self._one(reference)
        with self._database.writing() as connection:
            if reference.version is None and reference.alias is None:
                connection.execute("DELETE FROM versions WHERE name = ?", (model.name,))
            else:
                key = (model.name, model.version)
                connection.execute("DELETE FROM versions WHERE name = ? AND version = ?", key)
                connection.execute("DELETE FROM tags WHERE name = ? AND version = ?", key)
            if not connection.execute("SELECT 1 FROM versions WHERE name = ?", (model.name,)).fetchone():
                connection.execute("DELETE FROM tags WHERE name = ?", (model.name,))
                connection.execute("UPDATE models SET description = '' WHERE name = ?", (model.name,))
                self.defaults.forget(connection, model.name)

    def set_default(self, task: str, name: str) -> None:
        """Choose the model for a task, "" for all tasks without a choice of their own; name may carry an alias."""
        _check_choice("task", task, TASKS)
        reference = parse_reference(name)
        if self._versions(reference.name):
            self._one(reference)
        elif name not in self._builtins:
            self.get(name)
        self.defaults.set(task, name)

    def _one(self, reference: Reference) -> ModelVersion:
        versions = {model.version: model for model in self.versions(reference.name)}
        if reference.alias is not None:
            aliases = self.aliases(reference.name)
            if reference.alias not in aliases:
                raise ModelNotFound(
                    f"{reference.name} has no alias {reference.alias!r}. {nearest(reference.alias, aliases)} "
                    f"Set it: sqlinfer models alias {reference.name} ALIAS VERSION"
                )
            return versions[aliases[reference.alias]]
        version = self._deployed(reference.name, versions) if reference.version is None else reference.version
        if version not in versions:
            have = ", ".join(map(str, versions))
            raise ModelNotFound(f"{reference.name} has no version {version}. Its versions: {have}.")
        return versions[version]

    def _deployed(self, name: str, versions: Collection[int]) -> int:
        """The version that a name without one means."""
        return self.aliases(name).get(DEPLOYED) or max(versions)

    def _versions(self, name: str | None = None) -> Sequence[ModelVersion]:
        with self._database.reading() as connection:
            return read_versions(connection, name)

    def _unregistered(self, source: str, name: str) -> ModelVersion:
        if self.lock.is_locked:
            raise ModelNotFound(
                f"The registry is locked: SQL can use registered models only, and {source!r} is not registered. "
                f"{self._known(name)} To allow others: sqlinfer models unlock"
            )
        files = self._files.find(source)
        model = ModelVersion(source, 0, files.source or source, files.path, "", files.revision)
        return self._files.with_fingerprint(replace(model, settings=REMOTE_SETTINGS) if files.source else model)

    def _known(self, name: str, source: str = "SOURCE") -> str:
        return f"{self._nearest(name)} To register it: `sqlinfer models register NAME {source}`.".lstrip()

    def _nearest(self, name: str) -> str:
        return nearest(name, [model.name for model in self.list()])


def _check_choice(noun: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise SqlinferError(f"There is no {noun} {value!r}. {nearest(value, [name for name in choices if name])}")
