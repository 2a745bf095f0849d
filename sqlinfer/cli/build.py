"""`sqlinfer build`, `test` and `retry`: the nodes of a project, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from sqlinfer.cli.mlflow import is_recorded, mlflow_option
from sqlinfer.cli.option_groups import GroupedCommand
from sqlinfer.cli.progress import Watch, quiet_option
from sqlinfer.cli.project import (
    Lines,
    open_project,
    project_root,
    project_session,
    read_variables,
    selection,
    to_build,
    variables_option,
)
from sqlinfer.cli.state import Command, job_options, take_job_settings
from sqlinfer.cli.stop import stopping
from sqlinfer.cli.tables import echo_json
from sqlinfer.errors import Interrupted

if TYPE_CHECKING:
    from sqlinfer.project import Project
    from sqlinfer.project.state import LastBuild, Result


def _options(command: Command) -> Command:
    for option in (
        quiet_option,
        mlflow_option,
        click.option("--json", "as_json", is_flag=True, help="Print the results of all nodes as one line of JSON."),
        click.option(
            "--threads", default=1, type=click.IntRange(1), show_default=True, help="Nodes built in parallel."
        ),
        click.option(
            "--model", metavar="NAME", help="Default model of calls without one, unless a node's config sets it."
        ),
        click.option("--db", metavar="PATH", help="DuckDB file.  [default: database in sqlinfer.yml]"),
    ):
        command = option(command)
    return command


@click.command(cls=GroupedCommand)
@selection
@click.option("--full-refresh", is_flag=True, help="Rebuild incremental models from scratch.")
@_options
@job_options
def build(
    more: tuple[str, ...],
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    variables: str,
    full_refresh: bool,
    **options: Any,
) -> None:
    """Build the project: seeds, models and their tests, in order of dependency.

    Nodes that depend on a failed model or test are skipped; all others are built. Only requests without a cached answer
    run, so a stopped build resumes where it was.

    \b
    sqlinfer build
    sqlinfer build --select moods+ --full-refresh
    sqlinfer build --select state:modified+ --exclude tag:slow
    sqlinfer build tag:nightly models/staging --vars '{least: 5}' --threads 4
    """
    from sqlinfer.project.state import last_build

    values = read_variables(variables)
    project = open_project(values)
    last = last_build(project.root)
    last.begin(to_build(project, [*select, *more], exclude), values, full_refresh)
    _build(project, last, last.selected, options)


@click.command(cls=GroupedCommand)
@selection
@_options
@job_options
def test(
    more: tuple[str, ...], select: tuple[str, ...], exclude: tuple[str, ...], variables: str, **options: Any
) -> None:
    """Run the project's tests: column tests in models/**/*.yml, and the SQL files in tests/.

    A test selects the rows that are wrong, and fails if there are any.

    \b
    sqlinfer test
    sqlinfer test --select moods
    """
    from sqlinfer.project.state import last_build

    project = open_project(variables)
    keys = to_build(project, [*select, *more], exclude)
    last = last_build(project.root)
    _build(project, last, [key for key in keys if project.nodes[key].node_type == "test"], options)


@click.command(cls=GroupedCommand)
@variables_option
@_options
@job_options
def retry(variables: str, **options: Any) -> None:
    """Resume the last build, with the same variables: what failed, was skipped or was not reached.

    \b
    sqlinfer retry
    """
    from sqlinfer.project.state import last_build

    last = last_build(project_root())
    values = last.variables_with(read_variables(variables))
    project = open_project(values)
    open_keys = [key for key in last.open_keys() if key in project.nodes]
    if not open_keys:
        click.echo("The last build left nothing to do.", err=True)
        return
    last.begin([key for key in project.nodes if key in open_keys], values, last.full_refresh)
    _build(project, last, last.selected, options)


def _build(project: Project, last: LastBuild, keys: Sequence[str], options: Mapping[str, Any]) -> None:
    from sqlinfer.mlflow import record_job
    from sqlinfer.project import Build

    options = dict(options)
    to_mlflow = is_recorded(options.pop("to_mlflow"))
    job_settings = take_job_settings(options)
    with project_session(project, options, job_settings) as session:
        watch = Watch(options["quiet"])
        lines = Lines(project, session, len(keys), options["quiet"])

        def ended(node: Any, result: Result) -> None:
            watch.stop()
            lines(node, result)
            nonlocal to_mlflow  # a server that is down is not tried again for each node
            to_mlflow = to_mlflow and record_job(session.runtime.store, result.job_id)

        building = Build(project, session, last, watch, ended)
        try:
            with stopping(lambda: building.sessions) as is_stop_wanted, watch.showing():
                results = building.run(keys, options["threads"], is_stop_wanted)
        except Interrupted:
            raise Interrupted("Stopped; every finished answer is kept. To resume: sqlinfer retry") from None
    if options["as_json"]:
        echo_json([asdict(result) for result in results])
    counts = {state: sum(result.state == state for result in results) for state in ("done", "failed", "skipped")}
    if not options["quiet"] or counts["failed"]:
        click.echo(", ".join(f"{count} {state}" for state, count in counts.items()), err=True)
    if counts["failed"]:
        if not options["quiet"]:
            click.echo("To resume from what failed: sqlinfer retry", err=True)
        raise click.exceptions.Exit(1)
