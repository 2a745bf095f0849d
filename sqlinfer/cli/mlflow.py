"""`sqlinfer models import` and `export`, and the option that records jobs as runs of MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from sqlinfer.cli.model_facts import facts_of
from sqlinfer.cli.state import open_store
from sqlinfer.cli.tables import echo_json, json_option
from sqlinfer.config.folders import PROJECT_FILE, project_folder
from sqlinfer.config.project_file import read_project_file

if TYPE_CHECKING:
    from sqlinfer.sql import Session

mlflow_option = click.option(
    "--mlflow/--no-mlflow",
    "to_mlflow",
    default=None,
    help="Record each job as a run in MLflow.  [default: whether sqlinfer.yml has a key mlflow]",
)


@click.command("import")
@click.argument("source")
@click.option("--as", "name", metavar="NAME", default="", help="Name of the model here.  [default: as in MLflow]")
@click.option("--trust", is_flag=True, help="Allow models that run Python code of their author: all but transformers.")
@json_option
def import_(source: str, name: str, trust: bool, as_json: bool) -> None:
    """Register the versions of SOURCE, a model of MLflow's registry, with its aliases, tags and description.

    SOURCE may be one version: models:/NAME/3, models:/NAME@ALIAS, models:/NAME/latest or runs:/ID/PATH.

    \b
    sqlinfer models import summarizer
    sqlinfer models import models:/summarizer@champion --as short
    """
    from sqlinfer.mlflow import import_model

    with open_store() as store:
        versions = import_model(store.registry, source, name, trust)
        if as_json:
            echo_json([facts_of(store.registry, version) for version in versions])
        for version in () if as_json else versions:
            click.echo(f"{version} is registered from {version.source}: {version.path}")


@click.command()
@click.argument("name")
@click.option("--as", "remote_name", metavar="NAME", default="", help="Name of the model in MLflow.  [default: NAME]")
@json_option
def export(name: str, remote_name: str, as_json: bool) -> None:
    """Copy NAME, or one version of it, to MLflow's registry, with its aliases, tags and description.

    A version that is there already is not copied again.

    \b
    sqlinfer models export short
    sqlinfer models export short/3 --as summarizer
    """
    from sqlinfer.mlflow import export_model

    with open_store() as store:
        exported = export_model(store.registry, name, remote_name)
    if as_json:
        echo_json(exported)
    for local, uri in {} if as_json else exported.items():
        click.echo(f"{local} is {uri}")


def is_recorded(to_mlflow: bool | None) -> bool:
    """Whether jobs are recorded in MLflow: as the option says, else the project file."""
    if to_mlflow is not None:
        return to_mlflow
    folder = project_folder()
    return read_project_file(folder and folder / PROJECT_FILE).mlflow is not None


@contextmanager
def recorded(session: Session, to_mlflow: bool | None) -> Iterator[None]:
    """Record the job of a session in MLflow, once it has ended in whatever way."""
    is_on = is_recorded(to_mlflow)
    try:
        yield
    finally:
        if is_on:
            from sqlinfer.mlflow import record_job

            record_job(session.runtime.store, session.evaluator.runner.last_job_id)
