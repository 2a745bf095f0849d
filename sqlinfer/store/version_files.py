"""The files of a model version, or the address in their place: where they lie, and that they are still the same."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sqlinfer.config.remote_source import is_remote, read_remote_source
from sqlinfer.errors import ModelUnusable
from sqlinfer.store.fingerprint import FileHashes, fingerprint, remote_fingerprint
from sqlinfer.store.hosts import AllowedHosts
from sqlinfer.store.source import SourceFiles, check_files, check_scorer, find_source, is_folder
from sqlinfer.types import ModelVersion, Scorer


class VersionFiles:
    """Finds and checks files.

    hashes: of files that were read before.
    hosts: on which models behind an address may lie.
    models_folder: where copies of models lie that have no folder of their own.
    allow_download: whether a hub id that is not in the local cache is fetched.
    """

    def __init__(self, hashes: FileHashes, hosts: AllowedHosts, models_folder: Path, allow_download: bool) -> None:
        self._hashes = hashes
        self._hosts = hosts
        self._models_folder = models_folder
        self._allow_download = allow_download

    def find(
        self, source: str, revision: str | None = None, trust: bool = False, scorer: Scorer | None = None
    ) -> SourceFiles:
        """Where the files of a source are; a host that is not allowed is refused."""
        if not is_remote(source):
            return find_source(source, revision, trust, self._allow_download, scorer)
        if revision is not None or scorer is not None:
            option = "revision" if scorer is None else "script"
            raise ModelUnusable(f"{source}: a model behind an address takes no --{option}")
        remote = read_remote_source(source)
        self._hosts.check(remote)
        return SourceFiles(Path(), source=str(remote))

    def fingerprint(self, model: ModelVersion) -> str:
        """The fingerprint of its files, or its address, and of what its registration adds. Raises ModelUnusable."""
        extra: dict[str, Any] = {"task": model.task, "dtype": model.dtype, "parameters": asdict(model.parameters)}
        if is_remote(model.source):
            remote = read_remote_source(model.source)
            return remote_fingerprint(remote.url, remote.model, extra)
        try:
            extra |= {"trusted": model.trusted}
            if model.scorer is not None:
                extra["scorer"] = asdict(model.scorer)
            return fingerprint(model.path, extra, self._hashes)
        except OSError as error:
            raise ModelUnusable(f"The files in {model.path} cannot be read: {error}") from error

    def with_fingerprint(self, model: ModelVersion) -> ModelVersion:
        """A version with its fingerprint."""
        return replace(model, fingerprint=self.fingerprint(model))

    def check_intact(self, model: ModelVersion) -> ModelVersion:
        """A registered version whose files are there and are those of its registration. Raises ModelUnusable."""
        if model.path.is_relative_to(self._models_folder) and not model.path.exists():
            raise ModelUnusable(
                f"{model.path} is gone, the copy of {model.source}. "
                f"Copy it again: sqlinfer models register {model.name} {model.source}"
            )
        if is_remote(model.source):
            self._hosts.check(read_remote_source(model.source))
        elif model.scorer is not None:
            check_scorer(model.path, model.scorer)
        elif model.path.is_dir():
            check_files(model.path, model.trusted)
        else:
            # The hub's cache may have been emptied since: the pinned revision is fetched again.
            source, revision = (str(model.path), None) if is_folder(model.source) else (model.source, model.revision)
            model = replace(model, path=find_source(source, revision, model.trusted, self._allow_download).path)
        if self.fingerprint(model) != model.fingerprint:
            raise ModelUnusable(
                f"The files of {model} in {model.path} have changed since it was registered, and a version never "
                f"changes. Register them as the next version: sqlinfer models register {model.name} {model.source}"
            )
        return model


def check_pinned(model: ModelVersion, fingerprint: str | None) -> None:
    """Raise ModelUnusable unless a model has the fingerprint, if there is one."""
    if fingerprint is not None and model.fingerprint != fingerprint:
        raise ModelUnusable(
            f"{model.source} has the fingerprint {model.fingerprint} and not {fingerprint}: its files or settings "
            "differ from the pinned ones. Nothing was registered."
        )
