"""What came of each node last: a file in the state folder, written as nodes end, so that a build can go on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlinfer.config.folders import PROJECT_FILE
from sqlinfer.config.project_file import read_project_file
from sqlinfer.errors import SqlinferError
from sqlinfer.redact import secrets_among
from sqlinfer.store import state_folder
from sqlinfer.store.private_files import write_file

State = Literal["done", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of building one node.

    name: of the node.
    state: how it ended.
    ended: unix seconds.
    seconds: how long it took.
    rows: of its table, or failing rows of a test.
    job_id: the job of its AI calls, if it has any.
    error: the message, if it failed or was skipped.
    """

    name: str
    state: State
    ended: float
    seconds: float = 0.0
    rows: int | None = None
    job_id: int | None = None
    error: str | None = None


@dataclass(slots=True)
class LastBuild:
    """The last build of a project, and the last result of each node in any build.

    path: the file that holds it.
    selected: keys of the nodes to build.
    done: keys of those that are built.
    variables: values of --vars, without secrets.
    secrets: names of the variables that hold secrets; the file has no values of these.
    full_refresh: whether incremental models are rebuilt.
    results: the last result of each node, by key.
    fingerprints: of each node as it was last built, by key.
    """

    path: Path
    selected: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    full_refresh: bool = False
    results: dict[str, Result] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)

    def begin(self, selected: Iterable[str], variables: Mapping[str, Any], full_refresh: bool) -> None:
        """Note that a build begins."""
        self.selected, self.done = list(selected), []
        self.variables, self.full_refresh = dict(variables), full_refresh
        self.secrets = secrets_among(variables)
        self._write()

    def note(self, key: str, result: Result, fingerprint: str) -> None:
        """Note what came of a node. fingerprint: of the node as it is."""
        self.results[key] = result
        if result.state == "done":
            self.done.append(key)
            self.fingerprints[key] = fingerprint
        self._write()

    def variables_with(self, fresh: Mapping[str, Any]) -> dict[str, Any]:
        """The variables of the build and fresh ones, which win. Raises SqlinferError for a secret that is missing."""
        missing = [name for name in self.secrets if name not in {**self.variables, **fresh}]
        if missing:
            raise SqlinferError(
                f"The last build had a variable {missing[0]}, which holds a secret and was not kept. Give it again: "
                f"sqlinfer retry --vars '{{{missing[0]}: ..}}'"
            )
        return {**self.variables, **fresh}

    def open_keys(self) -> list[str]:
        """What the last build was to build and did not."""
        return [key for key in self.selected if key not in self.done]

    def _write(self) -> None:
        content = {name: value for name, value in asdict(self).items() if name != "path"}
        content["variables"] = {name: value for name, value in self.variables.items() if name not in self.secrets}
        write_file(self.path, json.dumps(content, default=str))


def last_build(root: Path) -> LastBuild:
    """The last build of the project in a folder; one of nothing if there was none."""
    name = read_project_file(root / PROJECT_FILE).name or root.name
    path = state_folder(root) / f"build-{name}.json"
    if not path.is_file():
        return LastBuild(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        results = {key: Result(**result) for key, result in content.pop("results").items()}
        return LastBuild(path, **content, results=results)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise SqlinferError(f"{path} is corrupt; delete it and build again") from None
