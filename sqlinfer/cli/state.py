"""Opens what the commands work on: the store, the functions, a session. Loads DuckDB for a session alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sqlinfer.errors import SqlinferError
from sqlinfer.store import Store, function_folders

if TYPE_CHECKING:
    from sqlinfer.sql import Session

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Script:
    """SQL text as it was given. folder: where it lies; None for standard input."""

    name: str
    text: str
    folder: Path | None


def session_options(command: _Command) -> _Command:
    """The options of every command that runs SQL: --db, --set, --model."""
    for option in (
        click.option("--model", metavar="NAME", help="Model of calls that name none: a name, a hub id or a ./folder."),
        click.option(
            "settings", "--set", metavar="NAME=VALUE", multiple=True, callback=_pairs,
            help="A text for the SQL, read there as getvariable('NAME'); may be given several times.",
        ),
        click.option("--db", metavar="PATH", default=":memory:", help="DuckDB file; it is made if it is not there."),
    ):  # fmt: skip
        command = option(command)
    return command


def key_values(texts: Iterable[str]) -> dict[str, str]:
    """`key=value` texts by key; a text without = is wrong usage."""
    pairs = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
        pairs[key] = value
    return pairs


def _pairs(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    pairs = key_values(texts)
    for name in pairs:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise click.BadParameter(f"{name!r} cannot be the name of a variable: letters, digits and _ make one")
    return pairs


def read_scripts(files: Iterable[str]) -> list[Script]:
    """The texts of SQL files; "-" is standard input."""
    scripts = []
    for file in files:
        try:
            with click.open_file(file, encoding="utf-8") as opened:
                text = opened.read()
        except UnicodeDecodeError as error:
            raise SqlinferError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}") from None
        scripts.append(Script(file, text, None if file == "-" else Path(file).resolve().parent))
    return scripts


def open_store() -> Store:
    """The store with the built-in models, as every command and session has it."""
    from sqlinfer.engine.builtin import BUILTINS, DEFAULTS

    return Store(builtins=BUILTINS, defaults=DEFAULTS)


def open_session(
    db: str, settings: Mapping[str, str], model: str | None, store: bool, scripts: Iterable[Script]
) -> Session:
    """A session on a database file, with the settings as variables."""
    from sqlinfer import connect
    from sqlinfer.cli.failures import duckdb_errors

    beside = [script.folder for script in scripts if script.folder is not None]
    try:
        session = connect(db, model=model, store=store, udfs=function_folders(beside))
    except duckdb_errors() as error:
        locked = re.search(r"held in (.*?) ?\(PID (\d+)\)", str(error))
        if locked is None:
            raise
        raise SqlinferError(
            f"The database {db} is locked by another process: {locked[1]}, PID {locked[2]}. DuckDB lets one process "
            f"write to a file: wait until it ends, end it, or name another file with --db."
        ) from None
    session.execute("SET python_enable_replacements = false")  # a name in SQL is never a variable of this program
    for name, value in settings.items():
        text = value.replace("'", "''")
        session.execute(f"SET VARIABLE \"{name}\" = '{text}'")
    return session
