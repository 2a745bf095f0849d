"""The command line: groups are nouns, their commands verbs. Knows no torch and edits no SQL text."""

from __future__ import annotations

import click

from sqlinfer import __version__
from sqlinfer.cli.answers import answers
from sqlinfer.cli.batch import batch
from sqlinfer.cli.build import build, retry, test
from sqlinfer.cli.docs import docs
from sqlinfer.cli.explain import explain
from sqlinfer.cli.failures import Commands
from sqlinfer.cli.functions import functions
from sqlinfer.cli.init import init
from sqlinfer.cli.jobs import jobs
from sqlinfer.cli.ls import ls
from sqlinfer.cli.mlflow import export, import_
from sqlinfer.cli.models import models
from sqlinfer.cli.preview import preview
from sqlinfer.cli.prices import prices
from sqlinfer.cli.run import run
from sqlinfer.cli.serve import serve
from sqlinfer.cli.shell import shell


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", prog_name="sqlinfer", message="%(prog)s %(version)s")
def main() -> None:
    """Batch inference in SQL, on DuckDB, on your own GPU.

    \b
    sqlinfer run query.sql              run a file; identical requests run only once
    sqlinfer explain query.sql          count its requests, without running them
    sqlinfer preview query.sql          run a few requests: prompt, raw answer and value
    sqlinfer shell                      the DuckDB shell, with the functions
    sqlinfer build                      build the models of a project, in order of dependency
    sqlinfer models register short ./m  register a model under a name
    """


models.add_command(import_)
models.add_command(export)
for command in (
    run,
    explain,
    preview,
    shell,
    serve,
    init,
    build,
    test,
    retry,
    ls,
    docs,
    models,
    functions,
    answers,
    batch,
    jobs,
    prices,
):
    main.add_command(command)
