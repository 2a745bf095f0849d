"""`sqlinfer ls`: the nodes of a project, in the order in which they are built."""

from __future__ import annotations

import click

from sqlinfer.cli.project import open_project, selected, selection
from sqlinfer.cli.tables import echo_json, echo_table, json_option


@click.command()
@selection
@json_option
def ls(more: tuple[str, ...], select: tuple[str, ...], exclude: tuple[str, ...], variables: str, as_json: bool) -> None:
    """List the project's nodes in order of dependency.

    \b
    sqlinfer ls
    sqlinfer ls --select +moods --json
    """
    project = open_project(variables)
    nodes = [project.nodes[key] for key in selected(project, [*select, *more], exclude)]
    rows = [
        {
            "name": node.name,
            "materialized": node.materialized,
            "reads": [*(project.nodes[ref].name for ref in node.refs), *node.sources],
            "tags": list(node.config.tags),
            "file": node.path.as_posix(),
        }
        for node in nodes
    ]
    if as_json:
        echo_json(rows)
    else:
        echo_table(
            ["name", "materialized", "reads", "file"],
            [[row["name"], row["materialized"], ", ".join(row["reads"]), row["file"]] for row in rows],
        )
