"""`sqlinfer models`: the registry on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sqlinfer.cli.state import key_values, open_store
from sqlinfer.cli.tables import echo_facts, echo_json, echo_table
from sqlinfer.errors import SqlinferError
from sqlinfer.types import ModelVersion, Parameters

if TYPE_CHECKING:
    from sqlinfer.store import Registry

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def models() -> None:
    """Give models names, versions and tags.

    In SQL a model is 'name', 'name@alias', 'name/3', a hub id 'org/name' or a folder './path'.

    \b
    sqlinfer models register short ./my-t5 --task summarize
    sqlinfer models default summarize short
    """


@models.command()
@click.argument("name")
@click.argument("source")
@click.option("--task", default="", help="What it is for: generate, summarize or embed; open if not said.")
@click.option("--dtype", default="auto", help="auto, float32, bfloat16 or float16.")
@click.option("--revision", help="Commit, branch or tag of a hub repository; the commit is pinned.")
@click.option("--description", default="", help="A few words for people and for search.")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="A tag; may be given several times.")
@click.option(
    "parameters",
    "--set",
    metavar="KEY=VALUE",
    multiple=True,
    help="Default of a parameter, as max_tokens=64 or temperature=0.2; may be given several times.",
)
@click.option("--trust", is_flag=True, help="Allow pickled weights, which can run any code when loaded.")
@_json_option
def register(name: str, source: str, tags: tuple[str, ...], parameters: tuple[str, ...], **given: Any) -> None:
    """Register SOURCE, a folder ('./path') or a hub id ('org/name'), as the next version of NAME.

    \b
    sqlinfer models register short ./my-t5 --task summarize --set max_tokens=64 --tag team=news
    sqlinfer models register qwen Qwen/Qwen3-0.6B --dtype bfloat16
    """  # fmt: skip
    from sqlinfer.store.source import is_folder

    as_json = given.pop("as_json")
    if is_folder(source):
        source = str(Path(source).expanduser().resolve())
    defaults = _parameters(key_values(parameters), f"models register {name}")
    with open_store() as store:
        version = store.registry.register(name, source, parameters=defaults, tags=key_values(tags), **given)
        if as_json:
            echo_json(_facts(store.registry, version))
        else:
            click.echo(f"{version} is registered: {version.path}")


@models.command("list")
@_json_option
def list_(as_json: bool) -> None:
    """List the newest version of each model, and the built-in ones.

    \b
    sqlinfer models list --json
    """
    with open_store() as store:
        _echo_versions(store.registry, store.registry.list(), as_json)


@models.command()
@click.argument("name")
@_json_option
def show(name: str, as_json: bool) -> None:
    """Show all about one model: NAME, NAME@ALIAS or NAME/VERSION, and what its calls generate with by default.

    \b
    sqlinfer models show short@champion
    """
    with open_store() as store:
        version = store.registry.get(name)
        facts = {**_facts(store.registry, version), **_generation(version)}
    if as_json:
        echo_json(facts)
    else:
        echo_facts(facts)


@models.command()
@click.argument("name")
@click.argument("alias")
@click.argument("version", type=int)
@_json_option
def alias(name: str, alias: str, version: int, as_json: bool) -> None:
    """Let NAME@ALIAS mean a version; an alias that is there moves.

    \b
    sqlinfer models alias short champion 3
    """
    with open_store() as store:
        store.registry.set_alias(name, alias, version)
        _done(f"{name}@{alias} is {name}/{version}", {"name": name, "alias": alias, "version": version}, as_json)


@models.command()
@click.argument("name")
@click.argument("tag", metavar="KEY=VALUE")
@_json_option
def tag(name: str, tag: str, as_json: bool) -> None:
    """Set a tag of all versions of a model, or of one: NAME/VERSION.

    \b
    sqlinfer models tag short team=news
    """
    from sqlinfer.store.names import parse_reference

    ((key, value),) = key_values([tag]).items()
    with open_store() as store:
        reference = parse_reference(name)
        version = store.registry.get(name).version if reference.alias else reference.version
        store.registry.tag(reference.name, key, value, version)
        _done(f"{name} has the tag {key}={value}", {"name": name, "tag": key, "value": value}, as_json)


@models.command()
@click.argument("text")
@_json_option
def search(text: str, as_json: bool) -> None:
    """List the models whose name, description, task, source or tags hold every word of TEXT.

    \b
    sqlinfer models search "news summarize"
    """
    with open_store() as store:
        _echo_versions(store.registry, store.registry.search(text), as_json)


@models.command()
@click.argument("name")
@_json_option
def remove(name: str, as_json: bool) -> None:
    """Forget a model, or one version of it: NAME/VERSION. Its files and its answers stay.

    \b
    sqlinfer models remove short/2
    """
    with open_store() as store:
        store.registry.remove(name)
        _done(f"{name} is removed", {"name": name, "removed": True}, as_json)


@models.command()
@click.argument("task_and_name", metavar="[TASK] [NAME]", nargs=-1)
@_json_option
def default(task_and_name: tuple[str, ...], as_json: bool) -> None:
    """Choose the model of calls that name none, for one task or for all; without NAME, show the choices.

    \b
    sqlinfer models default short
    sqlinfer models default summarize short@champion
    """
    from sqlinfer.store.registry import TASKS

    if len(task_and_name) > 2:
        raise click.UsageError("A task and a name at most.")
    with open_store() as store:
        if task_and_name:
            name, task = task_and_name[-1], task_and_name[0] if len(task_and_name) == 2 else ""
            store.registry.set_default(task, name)
            _done(f"{name} answers {task or 'all tasks'}", {"task": task, "name": name}, as_json)
            return
        chosen = {task or "any": store.registry.default(task) for task in TASKS}
    if as_json:
        echo_json(chosen)
    else:
        echo_table(["task", "model"], list(chosen.items()))


def _parameters(texts: dict[str, str], place: str) -> Parameters:
    """Parameters from texts: numbers and lists as JSON has them, all else as it stands."""
    from sqlinfer.sql.options import read_parameters

    return read_parameters({name: _value(text) for name, text in texts.items()}, place)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _done(said: str, facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(facts)
    else:
        click.echo(said)


def _echo_versions(registry: Registry, versions: Sequence[ModelVersion], as_json: bool) -> None:
    facts = [_facts(registry, version) for version in versions]
    if as_json:
        echo_json(facts)
        return
    names = ("name", "version", "task", "dtype", "source", "aliases", "tags", "description")
    rows = []
    for fact in facts:
        aliases = ", ".join(f"{name}={version}" for name, version in fact["aliases"].items())
        tags = ", ".join(f"{key}={value}" for key, value in fact["tags"].items())
        rows.append([fact[name] for name in names[:5]] + [aliases, tags, fact["description"]])
    echo_table(names, rows)


def _generation(version: ModelVersion) -> dict[str, Any]:
    """What a call that leaves its parameters open generates with: the registration's defaults, then the model's.

    Of a model that does not write: its labels, or how it embeds, and how much it reads.
    """
    from sqlinfer.engine.pool import open_engine
    from sqlinfer.errors import ModelUnusable

    try:
        engine = open_engine(version)
        if engine.kind == "generate":
            return {"generation": engine.defaults("summarize" if version.task == "summarize" else "generate")}
        return {engine.kind: engine.reads()}
    except ModelUnusable as error:
        return {"unusable": str(error)}


def _facts(registry: Registry, version: ModelVersion) -> dict[str, Any]:
    """What is known of a version, by name."""
    from sqlinfer.engine.builtin import DESCRIPTION

    try:
        versions = [each.version for each in registry.versions(version.name)]
    except SqlinferError:
        versions = []  # built-in, or a folder or hub id that has no name here
    return {
        "name": version.name,
        "version": version.version,
        "source": version.source,
        "revision": version.revision,
        "path": str(version.path),
        "task": version.task,
        "dtype": version.dtype,
        "parameters": {name: value for name, value in asdict(version.parameters).items() if value is not None},
        "description": DESCRIPTION if version.source == "built-in" else version.description,
        "tags": dict(version.tags),
        "aliases": registry.aliases(version.name),
        "versions": versions,
        "fingerprint": version.fingerprint,
        "trusted": version.trusted,
    }
