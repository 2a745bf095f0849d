"""`sqlinfer models register`: the next version of a name, from arguments or from the YAML of a deployment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sqlinfer.cli.deployment import read_options
from sqlinfer.cli.model_facts import facts_of
from sqlinfer.cli.state import key_values, open_store
from sqlinfer.cli.tables import echo_json, json_option
from sqlinfer.config.job_settings import NAMES
from sqlinfer.types import Parameters


@click.command()
@click.argument("name", required=False)
@click.argument("source", required=False)
@click.option("--from", "file", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="Read a batch deployment's YAML; options and arguments here win.")  # fmt: skip
@click.option("--name", "endpoint", metavar="NAME", help="With --from: the name, in place of the endpoint's.")
@click.option("--task", default="", help="generate, summarize or embed.  [default: any task]")
@click.option("--dtype", default="auto", help="auto, float32, bfloat16, float16, or int8 on a CPU.")
@click.option("--revision", help="Commit, branch or tag of a hub repository; the commit is pinned.")
@click.option("--description", default="", help="A short description; `models search` finds its words.")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Set a tag; repeatable.")
@click.option(
    "parameters",
    "--set",
    metavar="KEY=VALUE",
    multiple=True,
    help="Default of a parameter (max_tokens=64) or of a job setting (timeout=60); repeatable.",
)
@click.option("--remote-model", metavar="NAME", default="", help="The server's name of the model, if SOURCE is a URL.")
@click.option("--script", metavar="FILE", help="The Python file of the folder that is the model.")
@click.option("--returns", metavar="TYPE", help="The SQL type of a result, as 'STRUCT(class INTEGER)'.")
@click.option("--input", "input_type", metavar="TYPE", default="", help="The SQL type of an input, as BLOB.")
@click.option("--trust", is_flag=True, help="Allow a script, or pickled weights: both run code of the model's author.")
@json_option
def register(
    name: str | None, source: str | None, tags: tuple[str, ...], parameters: tuple[str, ...], **options: Any
) -> None:
    """Register SOURCE as the next version of NAME: a folder ('./path'), a hub id ('org/name'), an MLflow model, or a
    model behind an address ('openai:gpt-5-mini', or a base URL and --remote-model).

    \b
    sqlinfer models register short ./my-t5 --task summarize --set max_tokens=64 --tag team=news
    sqlinfer models register qwen Qwen/Qwen3-0.6B --dtype bfloat16
    sqlinfer models register gpt openai:gpt-5-mini
    sqlinfer models register digits ./mnist --script score.py --returns INTEGER --input BLOB --trust
    sqlinfer models register --from deployment.yml
    """  # fmt: skip
    from sqlinfer.config.remote_source import is_remote, read_remote_source
    from sqlinfer.mlflow import register_model
    from sqlinfer.store.source import is_folder

    as_json, file, name = options.pop("as_json"), options.pop("file"), options.pop("endpoint") or name
    remote_model = options.pop("remote_model")
    deployment = None if file is None else read_options(file, name, source, options)
    if deployment is not None:
        name, source, options = deployment.name, deployment.source, options | dict(deployment.options)
    if name is None or source is None:
        raise click.UsageError("Missing arguments 'NAME SOURCE', or --from FILE.")
    if remote_model or is_remote(source):
        source = str(read_remote_source(source, remote_model))
    elif is_folder(source):
        source = str(Path(source).expanduser().resolve())
    values = key_values(parameters)
    settings, labels = {key: values.pop(key) for key in NAMES if key in values}, key_values(tags)
    if deployment is not None:
        settings, labels = {**deployment.settings, **settings}, {**deployment.tags, **labels}
    defaults = _parameters(values, f"models register {name}")
    with open_store(allow_download=True) as store:
        version = register_model(
            store.registry, name, source, parameters=defaults, settings=settings, tags=labels, **options
        )
        if deployment is not None:
            deployment.set_alias(store.registry, version)
        if as_json:
            unused = {} if deployment is None else {"unused": dict(deployment.unused)}
            echo_json(facts_of(store.registry, version) | unused)
            return
    click.echo(f"{version} is registered: {version.source if is_remote(source) else version.path}")
    if deployment is not None:
        deployment.echo()


def _parameters(texts: dict[str, str], command: str) -> Parameters:
    """Parameters from texts: numbers and lists as JSON has them, all else as it stands."""
    from sqlinfer.functions.call_options import read_parameters

    return read_parameters({name: _value(text) for name, text in texts.items()}, command)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
