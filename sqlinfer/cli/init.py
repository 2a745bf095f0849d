"""`sqlinfer init`: the files of a new project."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="[FOLDER]", default=".", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Create a small project, ready to build, in FOLDER or in the current folder.

    \b
    sqlinfer init reviews
    """
    from sqlinfer.project.starter import write_starter

    for path in write_starter(folder):
        click.echo(folder / path)
    there = "" if folder == Path() else f"cd {folder} && "
    click.echo(f"Build it: {there}sqlinfer build", err=True)
