"""`sqlinfer models`: the registry on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sqlinfer.cli.compare import compare
from sqlinfer.cli.deployment import read_options
from sqlinfer.cli.model_facts import echo_versions, facts_of, generation_of
from sqlinfer.cli.state import key_values, open_store
from sqlinfer.cli.tables import echo_facts, echo_json, echo_table, json_option
from sqlinfer.cli.warm import warm
from sqlinfer.config.job_settings import NAMES
from sqlinfer.errors import SqlinferError
from sqlinfer.types import Parameters


@click.group()
def models() -> None:
    """Register models: names, versions, aliases and tags.

    In SQL a model is 'name', 'name@alias', 'name/3', a hub id 'org/name' or a folder './path'.

    \b
    sqlinfer models register short ./my-t5 --task summarize
    sqlinfer models default summarize short
    """


models.add_command(compare)
models.add_command(warm)


@models.command()
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


@models.command()
@click.argument("source")
@click.option("--revision", help="Commit, branch or tag; the commit is pinned.")
@click.option("--fingerprint", help="Refuse the model unless it has this fingerprint, as `models show` prints it.")
@json_option
def pull(source: str, revision: str | None, fingerprint: str | None, as_json: bool) -> None:
    """Download SOURCE, a hub id ('org/name'), and register it, pinned by commit and fingerprint.

    SQL never downloads a model. Pulling again registers the next version if the files have changed.

    \b
    sqlinfer models pull Qwen/Qwen3-0.6B --revision main
    """
    from sqlinfer.store.source import is_folder

    if is_folder(source):
        raise SqlinferError(f"{source!r} is a folder. To register it: sqlinfer models register NAME {source}")
    with open_store(allow_download=True) as store:
        version = store.registry.register(source, source, revision=revision, fingerprint=fingerprint)
        facts = facts_of(store.registry, version)
    message = f"{version} is at revision {version.revision}, fingerprint {version.fingerprint}: {version.path}"
    _done(message, facts, as_json)


@models.command()
@json_option
def lock(as_json: bool) -> None:
    """Restrict SQL to registered and built-in models, and let it change no registration.

    \b
    sqlinfer models lock
    """
    with open_store() as store:
        store.registry.lock.set(True)
    _done("SQL can use registered models only", {"locked": True}, as_json)


@models.command()
@json_option
def unlock(as_json: bool) -> None:
    """Let SQL use hub ids and folders again, and register models.

    \b
    sqlinfer models unlock
    """
    with open_store() as store:
        store.registry.lock.set(False)
    _done("SQL can use hub ids and folders too", {"locked": False}, as_json)


@models.command()
@click.argument("hosts", metavar="[HOST]...", nargs=-1)
@click.option("--add", is_flag=True, help="Add to the list, in place of replacing it.")
@click.option("--any", "is_any", is_flag=True, help="Allow every host again.")
@json_option
def hosts(hosts: tuple[str, ...], add: bool, is_any: bool, as_json: bool) -> None:
    """List the hosts that models behind an address may lie on, or set them; an empty list allows every host.

    A pattern such as *.example.org stands for many; http://HOST allows a public host without TLS.

    \b
    sqlinfer models hosts api.openai.com 127.0.0.1
    """
    with open_store() as store:
        allowed = store.registry.hosts
        if hosts or is_any:
            allowed.set([*(allowed.list() if add else ()), *hosts])
        listed = list(allowed.list())
    _done("\n".join(listed) or "every host", {"hosts": listed}, as_json)


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the newest version of each model, and the built-in ones.

    \b
    sqlinfer models list --json
    """
    with open_store() as store:
        echo_versions(store.registry, store.registry.list(), as_json)


@models.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one model, NAME, NAME@ALIAS or NAME/VERSION, and the default parameters of its calls.

    \b
    sqlinfer models show short@champion
    """
    with open_store() as store:
        version = store.registry.get(name)
        facts = {**facts_of(store.registry, version), **generation_of(version)}
    if as_json:
        echo_json(facts)
    else:
        echo_facts(facts)


@models.command()
@click.argument("name")
@click.argument("alias")
@click.argument("version", type=int, required=False)
@click.option("--drop", is_flag=True, help="Remove the alias; its version stays.")
@json_option
def alias(name: str, alias: str, version: int | None, drop: bool, as_json: bool) -> None:
    """Point NAME@ALIAS to a version; an existing alias is moved.

    \b
    sqlinfer models alias short champion 3
    sqlinfer models alias short champion --drop
    """
    if drop is (version is not None):
        raise click.UsageError(f"Expected a VERSION of {name}, or --drop.")
    with open_store() as store:
        if version is None:
            store.registry.drop_alias(name, alias)
            _done(f"{name} has no alias {alias} any more", {"name": name, "alias": alias, "dropped": True}, as_json)
            return
        store.registry.set_alias(name, alias, version)
        _done(f"{name}@{alias} is {name}/{version}", {"name": name, "alias": alias, "version": version}, as_json)


@models.command()
@click.argument("name")
@click.argument("version", type=int)
@json_option
def deploy(name: str, version: int, as_json: bool) -> None:
    """Let NAME mean a version from now on, its alias `default`; without one, NAME means its newest version.

    \b
    sqlinfer models deploy short 3
    """
    with open_store() as store:
        store.registry.deploy(name, version)
        _done(f"{name} is {name}/{version}", {"name": name, "version": version}, as_json)


@models.command()
@click.argument("name")
@json_option
def rollback(name: str, as_json: bool) -> None:
    """Let NAME mean the version again that it meant before the last deploy.

    \b
    sqlinfer models rollback short
    """
    with open_store() as store:
        model = store.registry.rollback(name)
        _done(f"{name} is {model}", {"name": name, "version": model.version}, as_json)


@models.command()
@click.argument("name")
@click.argument("tag", metavar="KEY=VALUE")
@click.option("--drop", is_flag=True, help="Remove the tag KEY.")
@json_option
def tag(name: str, tag: str, drop: bool, as_json: bool) -> None:
    """Tag all versions of a model, or one version: NAME/VERSION.

    \b
    sqlinfer models tag short team=news
    sqlinfer models tag short team --drop
    """
    from sqlinfer.store.names import parse_reference

    ((key, value),) = [(tag, "")] if drop else key_values([tag]).items()
    with open_store() as store:
        reference = parse_reference(name)
        version = store.registry.get(name).version if reference.alias else reference.version
        if drop:
            store.registry.untag(reference.name, key, version)
            _done(f"{name} has no tag {key} any more", {"name": name, "tag": key, "dropped": True}, as_json)
            return
        store.registry.tag(reference.name, key, value, version)
        _done(f"{name} has the tag {key}={value}", {"name": name, "tag": key, "value": value}, as_json)


@models.command()
@click.argument("text")
@json_option
def search(text: str, as_json: bool) -> None:
    """List the models whose name, description, task, source or tags contain every word of TEXT.

    \b
    sqlinfer models search "news summarize"
    """
    with open_store() as store:
        echo_versions(store.registry, store.registry.search(text), as_json)


@models.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Remove a model, or one version (NAME/VERSION), from the registry. Its files and answers stay.

    \b
    sqlinfer models remove short/2
    """
    with open_store() as store:
        store.registry.remove(name)
        _done(f"{name} is removed", {"name": name, "removed": True}, as_json)


@models.command()
@click.argument("task_and_name", metavar="[TASK] [NAME]", nargs=-1)
@json_option
def default(task_and_name: tuple[str, ...], as_json: bool) -> None:
    """Set the default model, for one task or for all; without NAME, show the defaults.

    \b
    sqlinfer models default short
    sqlinfer models default summarize short@champion
    """
    from sqlinfer.store.registry import TASKS

    if len(task_and_name) > 2:
        raise click.UsageError("Expected at most a task and a name.")
    with open_store() as store:
        if task_and_name:
            name, task = task_and_name[-1], task_and_name[0] if len(task_and_name) == 2 else ""
            store.registry.set_default(task, name)
            _done(f"{name} is the default of {task or 'all tasks'}", {"task": task, "name": name}, as_json)
            return
        chosen = {task or "any": store.registry.defaults.of(task) for task in TASKS}
    if as_json:
        echo_json(chosen)
    else:
        echo_table(["task", "model"], list(chosen.items()))


def _parameters(texts: dict[str, str], command: str) -> Parameters:
    """Parameters from texts: numbers and lists as JSON has them, all else as it stands."""
    from sqlinfer.functions.call_options import read_parameters

    return read_parameters({name: _value(text) for name, text in texts.items()}, command)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _done(message: str, facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(facts)
    else:
        click.echo(message)
