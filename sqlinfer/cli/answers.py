"""`sqlinfer answers`: shows and clears the answer cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from sqlinfer.cli.state import Command, open_store
from sqlinfer.cli.tables import echo_json, echo_table, json_option
from sqlinfer.errors import SqlinferError
from sqlinfer.units import count, moment, size

if TYPE_CHECKING:
    from sqlinfer.store import Store


@click.group()
def answers() -> None:
    """Look at the kept answers, export them, or clear them. They hold texts that models wrote about your rows.

    \b
    sqlinfer answers stats
    sqlinfer answers clear --function summarize
    """


@answers.command()
@json_option
def stats(as_json: bool) -> None:
    """Count the cached answers, by function and by model.

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


def _choice(command: Command) -> Command:
    """The options of commands on some of the answers."""
    for option in (
        click.option("--model", help="Only the answers of this model: a name as in SQL, or a fingerprint."),
        click.option("--function", help="Only the answers of this SQL function."),
    ):
        command = option(command)
    return command


@answers.command()
@_choice
@click.option("--limit", default=20, show_default=True, help="Number of answers, newest first; -1: all.")
@json_option
def show(function: str | None, model: str | None, limit: int, as_json: bool) -> None:
    """Show the last answers, with model, tokens and how each ended. Prompts are not kept.

    \b
    sqlinfer answers show --function summarize --limit 5
    """
    with open_store() as store:
        shown = list(_facts(store, function, model, limit))
    if as_json:
        echo_json(shown)
        return
    names = ("created", "function", "model", "answer", "prompt_tokens", "completion_tokens", "finish_reason")
    echo_table([name.replace("_", " ") for name in names], [[fact[name] for name in names] for fact in shown])


@answers.command()
@_choice
def export(function: str | None, model: str | None) -> None:
    """Write the answers to stdout, as JSON lines, newest first.

    \b
    sqlinfer answers export --function summarize > summaries.jsonl
    """
    with open_store() as store:
        for fact in _facts(store, function, model, -1):
            echo_json(fact)


def _facts(store: Store, function: str | None, model: str | None, limit: int) -> Iterator[dict[str, Any]]:
    names = _names(store)
    for answer in store.answers.kept(function, None if model is None else _fingerprint(store, model), limit):
        yield {
            "created": moment(answer.created),
            "function": answer.function,
            "model": names.get(answer.fingerprint, answer.fingerprint),
            "answer": answer.text,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "finish_reason": answer.finish_reason,
            "truncated": bool(answer.truncated),
            "fingerprint": answer.fingerprint,
            "key": answer.key.hex(),
        }


@answers.command()
@_choice
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def clear(function: str | None, model: str | None, yes: bool, as_json: bool) -> None:
    """Delete cached answers: all, or those of one function or model. Their texts are wiped from the disk.

    \b
    sqlinfer answers clear --model short/2 --yes
    """
    with open_store() as store:
        fingerprint = None if model is None else _fingerprint(store, model)
        described = " ".join(["all answers" if not (function or model) else "the answers", *_of(function, model)])
        if not yes:
            click.confirm(f"Delete {described} in {store.path}?", abort=True, err=True)
        if not (function or model):
            store.comparisons.clear()  # their labels are answers
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
    """Print where answers, models and jobs are stored.

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
    """The fingerprint of a model as it is written in SQL, also if its files have changed since."""
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
