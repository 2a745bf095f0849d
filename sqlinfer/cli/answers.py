"""`sqlinfer answers`: the answers that are kept, where they lie, and how they go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sqlinfer.cli.state import open_store
from sqlinfer.cli.tables import echo_json, echo_table
from sqlinfer.errors import SqlinferError
from sqlinfer.units import count, size

if TYPE_CHECKING:
    from sqlinfer.store import Store

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def answers() -> None:
    """Look at the kept answers, or clear them. They hold texts that models wrote about your rows.

    \b
    sqlinfer answers stats
    sqlinfer answers clear --function summarize
    """


@answers.command()
@_json_option
def stats(as_json: bool) -> None:
    """Count the answers, by function and by model.

    \b
    sqlinfer answers stats --json
    """
    with open_store() as store:
        counts = store.answers.stats()
        names = _names(store)
    models = {names.get(fingerprint, fingerprint): count for fingerprint, count in counts["models"].items()}
    if as_json:
        echo_json({**counts, "models": models})
        return
    click.echo(f"{count(counts['answers'], 'answer')}, {size(counts['file_bytes'])}: {counts['path']}")
    if counts["answers"]:
        echo_table(["function", "answers"], list(counts["functions"].items()))
        echo_table(["model", "answers"], list(models.items()))


@answers.command()
@click.option("--function", help="Only the answers of this SQL function.")
@click.option("--model", help="Only the answers of this model: a name as in SQL, or a fingerprint.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json_option
def clear(function: str | None, model: str | None, yes: bool, as_json: bool) -> None:
    """Delete answers, all or those of a function or a model. Their texts are wiped from the disk.

    \b
    sqlinfer answers clear --model short/2 --yes
    """
    with open_store() as store:
        fingerprint = None if model is None else _fingerprint(store, model)
        described = " ".join(["all answers" if not (function or model) else "the answers", *_of(function, model)])
        if not yes:
            click.confirm(f"Delete {described} in {store.path}?", abort=True, err=True)
        gone, is_wiped = store.answers.clear(function, fingerprint), store.answers.is_wiped
    if as_json:
        echo_json({"cleared": gone, "wiped": is_wiped})
    else:
        click.echo(f"{count(gone, 'answer is', 'answers are')} deleted.")
    if not is_wiped:
        click.echo(
            "Another process is reading the store, so the deleted texts are still on the disk. The first command or "
            "session that ends after that wipes them.",
            err=True,
        )


@answers.command()
def path() -> None:
    """Print where answers, models and jobs are kept.

    \b
    sqlinfer answers path
    """
    from sqlinfer.store import state_folder
    from sqlinfer.store.store import FILE_NAME

    click.echo(str(state_folder() / FILE_NAME))


def _of(function: str | None, model: str | None) -> list[str]:
    return ([f"of the function {function}"] if function else []) + ([f"of the model {model}"] if model else [])


def _names(store: Store) -> dict[str, str]:
    """The names of all known model versions by fingerprint."""
    from sqlinfer.engine import BUILTINS

    names = {store.registry.get(name).fingerprint: name for name in BUILTINS}
    for newest in store.registry.list():
        if newest.version:
            names |= {version.fingerprint: str(version) for version in store.registry.versions(newest.name)}
    return names


def _fingerprint(store: Store, model: str) -> str:
    """The fingerprint of a model as it is written in SQL; files that changed since are no hindrance."""
    from sqlinfer.store.names import parse_reference

    if model in store.answers.stats()["models"]:
        return model
    reference = parse_reference(model)
    try:
        versions = {version.version: version for version in store.registry.versions(reference.name)}
    except SqlinferError:
        return store.registry.get(model).fingerprint
    if reference.alias:
        number = store.registry.aliases(reference.name).get(reference.alias, -1)
    else:
        number = max(versions) if reference.version is None else reference.version
    if number not in versions:
        return store.registry.get(model).fingerprint  # raises what is wrong with the name
    return versions[number].fingerprint
