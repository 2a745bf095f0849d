"""`sqlinfer models`: the registry on the command line."""

from __future__ import annotations

from typing import Any

import click

from sqlinfer.cli.compare import compare
from sqlinfer.cli.model_facts import echo_versions, facts_of, generation_of
from sqlinfer.cli.register import register
from sqlinfer.cli.state import key_values, open_store
from sqlinfer.cli.tables import echo_facts, echo_json, echo_table, json_option
from sqlinfer.cli.warm import warm
from sqlinfer.errors import SqlinferError


@click.group()
def models() -> None:
    """Register models: names, versions, aliases and tags.

    In SQL a model is 'name', 'name@alias', 'name/3', a hub id 'org/name' or a folder './path'.

    \b
    sqlinfer models register short ./my-t5 --task summarize
    sqlinfer models default summarize short
    """


for command in (register, compare, warm):
    models.add_command(command)


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


def _done(message: str, facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(facts)
    else:
        click.echo(message)
