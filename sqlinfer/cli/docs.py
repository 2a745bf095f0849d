"""`sqlinfer docs`: a page of the project."""

from __future__ import annotations

from pathlib import Path

import click

from sqlinfer.cli.project import open_project, project_session
from sqlinfer.errors import SqlinferError


@click.command()
@click.option("--output", "-o", metavar="FILE", default="docs.html", show_default=True, help="The page to write.")
@click.option("--db", metavar="PATH", help="DuckDB file.  [default: database in sqlinfer.yml]")
@click.option("--rows", default=3, show_default=True, type=click.IntRange(0), help="Rows shown of each table; 0: none.")
@click.option("--vars", "variables", metavar="YAML", default="{}", help="Values of var(..), as for sqlinfer build.")
def docs(output: str, db: str | None, rows: int, variables: str) -> None:
    """Write a page of the project: graph, columns, first rows, tests, SQL, and the last job of each node.

    The page is one self-contained HTML file. It holds a few rows of each table: --rows 0 leaves them out.

    \b
    sqlinfer docs --output site/index.html
    """
    from sqlinfer.project.page import page
    from sqlinfer.project.state import last_build

    project = open_project(variables)
    last = last_build(project.root)
    if Path(db or project.root / project.database).is_file():
        with project_session(project, {"db": db, "model": None}) as session:
            text = page(project, last, session, rows)
    else:
        text = page(project, last, None)
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SqlinferError(f"{output} cannot be written: {error.strerror}") from None
    click.echo(output)
