"""Opens a project and a session on its database, as the commands on projects do, and prints what came of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sqlinfer.cli.state import Command, SqlText, open_session
from sqlinfer.cli.tables import to_cell
from sqlinfer.errors import SqlinferError
from sqlinfer.store import project_folder
from sqlinfer.units import count, counted, duration

if TYPE_CHECKING:
    from sqlinfer.project import Node, Project
    from sqlinfer.project.state import Result
    from sqlinfer.sql import Session


variables_option = click.option(
    "--vars", "variables", metavar="YAML", default="{}",
    help="Values of var(..), as '{least: 5}'; they override those in sqlinfer.yml.",
)  # fmt: skip


def selection(command: Command) -> Command:
    """The options of commands on nodes: which, and with what variables."""
    for option in (
        variables_option,
        click.option(
            "--select", "-s", "select", metavar="NODES", multiple=True,
            help="Nodes by name, name+ with what reads them, +name with what they read, tag:NAME, a path, or "
            "state:modified.",
        ),
        click.option("--exclude", metavar="NODES", multiple=True, help="Leave these nodes out; as for --select."),
        click.argument("more", metavar="[NODES]...", nargs=-1),
    ):  # fmt: skip
        command = option(command)
    return command


def open_project(variables: str | Mapping[str, Any] = "{}") -> Project:
    """The project of the working folder. variables: YAML, or values."""
    from sqlinfer.project import load

    return load(project_root(), read_variables(variables) if isinstance(variables, str) else variables)


def project_root() -> Path:
    """The folder of the project that the working folder belongs to."""
    root = project_folder()
    if root is None:
        raise SqlinferError(
            f"There is no sqlinfer.yml in {Path.cwd()} or above it. `sqlinfer init FOLDER` makes a project"
        )
    return root


def selected(project: Project, selectors: Sequence[str], exclude: Sequence[str] = ()) -> list[str]:
    """The keys of the nodes that are meant."""
    from sqlinfer.project import select
    from sqlinfer.project.state import last_build

    built = last_build(project.root).fingerprints

    def is_modified(node: Node) -> bool:
        return node.materialized != "ephemeral" and built.get(node.key) != project.fingerprint(node)

    return select(project.nodes, selectors, exclude, is_modified)


def to_build(project: Project, selectors: Sequence[str], exclude: Sequence[str] = ()) -> list[str]:
    """The keys of the nodes to build; what is ephemeral is part of others."""
    keys = selected(project, selectors, exclude)
    return [key for key in keys if project.nodes[key].materialized != "ephemeral"]


def read_variables(text: str) -> dict[str, Any]:
    """Names and values of --vars."""
    import yaml

    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        values = text
    if not isinstance(values, Mapping):
        raise click.BadParameter(f"{text!r} is not of the form {{name: value}}", param_hint="--vars")
    return {str(name): value for name, value in values.items()}


@contextmanager
def project_session(
    project: Project, options: Mapping[str, Any], job_settings: Mapping[str, Any] | None = None
) -> Iterator[Session]:
    """A session on the project's database, with the project's functions."""
    if (job_settings or {}).get("output_action"):
        raise SqlinferError(
            "--output-action applies to sqlinfer run; how a model writes its table is set by materialized in its config"
        )
    db = options["db"] or str(project.root / project.database)
    here = SqlText(project.name, "", project.root)
    with open_session({"settings": {}, **options, "db": db}, [here], job_settings=job_settings) as session:
        yield session


class Lines:
    """Prints a line for each node as it ends. of: how many there are; quiet: only what failed."""

    def __init__(self, project: Project, session: Session, of: int, quiet: bool = False) -> None:
        self._project = project
        self._jobs = session.runtime.store.jobs
        self._of = of
        self._quiet = quiet
        self._num = 0
        self._width = max((len(node.name) for node in project.nodes.values()), default=0)

    def __call__(self, node: Node, result: Result) -> None:
        """Print what came of a node."""
        self._num += 1
        if self._quiet and result.state == "done":
            return
        outcome = {"done": "ok", "failed": "FAILED", "skipped": "skipped"}[result.state]
        step = f"{self._num:>{len(str(self._of))}}/{self._of}"
        columns = [step, f"{node.materialized:11}", f"{node.name:{self._width}}", outcome]
        line = "  ".join([*columns, *self._counts(node, result)])
        click.echo(line, err=True)
        if result.error is not None:
            where = f"{node.path}: " if result.state == "failed" else ""
            for number, error_line in enumerate(result.error.splitlines()):
                click.echo(f"     {where if not number else ''}{to_cell(error_line)}", err=True)

    def _counts(self, node: Node, result: Result) -> Iterator[str]:
        if result.state == "skipped":
            return
        if result.rows is not None and node.node_type != "test":
            yield count(result.rows, "row")
        if result.job_id is not None:
            yield counted(self._jobs.show(result.job_id))
        yield duration(result.seconds)
