"""Opens what the commands work on: the store, the functions, a session. Loads DuckDB for a session alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sqlinfer.errors import SqlinferError
from sqlinfer.sql_text import quote_identifier, quote_literal
from sqlinfer.store import Store, function_folders

if TYPE_CHECKING:
    from sqlinfer.sql import Session

IN_MEMORY = ":memory:"
_SETTINGS = {
    "max_retries": "Number of retries after a transient failure.  [default: 3]",
    "timeout": "Fail a batch that completes no answer within this many seconds.",
    "error_threshold": "Stop when more than this many requests (or 5%) have failed; -1: never.  [default: -1]",
    "logging_level": "debug, info, warning, error or critical.",
    "environment": "Set an environment variable while models are loaded and run; repeatable.",
    "mini_batch_size": "Rows in a batch of a script or tabular model; language models size batches by tokens.",
    "max_concurrency_per_instance": "Worker processes of a script or tabular model.",
    "cached": "Keep the results of scripts, ONNX and tabular models.  [default: those of scripts]",
    "output_action": "If the table or file exists: append_row, replace or fail_if_exists; summary_only writes none.",
    "max_in_flight": "Requests to a server at a time, at most.  [default: as many as it bears]",
    "requests_per_minute": "Requests to a server a minute, at most.",
    "tokens_per_minute": "Tokens of requests to a server a minute, at most.",
    "max_requests": "Send at most this many requests to the models.",
    "max_prompt_tokens": "Stop after this many prompt tokens.",
    "max_completion_tokens": "Stop after this many generated tokens.",
    "max_seconds": "Stop after this many seconds.",
    "max_cost": "Stop after this many US dollars; the price list is `sqlinfer prices`.",
    "max_pairs": "Refuse an AI function over more pairs of rows of two tables; -1: no limit.  [default: 100000]",
    "ai_schema": "true: SQL may say AI.IF(..) for ai_if(..), as BigQuery does.  [default: false]",
}

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class SqlText:
    """A SQL text.

    name: its file as written, or the option it came by.
    text: as it was given.
    folder: where the file lies; None for standard input.
    """

    name: str
    text: str
    folder: Path | None


def script_arguments(command: Command) -> Command:
    """What commands that read SQL read: FILE, or -c; read_scripts takes both."""
    for option in (
        click.option("-c", "--command", "sql", metavar="SQL", help="Read this SQL, in place of a file."),
        click.argument(
            "files", metavar="[FILE]...", nargs=-1, type=click.Path(exists=True, allow_dash=True, dir_okay=False)
        ),
    ):
        command = option(command)
    return command


def session_options(command: Command) -> Command:
    """The options of commands that run SQL: --db, --set, --model."""
    model = click.option("--model", metavar="NAME", help="Default model: a registered name, a hub id or a ./folder.")
    return database_options(model(command))


def database_options(command: Command) -> Command:
    """The options of every command that runs SQL: --db, --set."""
    for option in (
        click.option(
            "settings", "--set", metavar="NAME=VALUE", multiple=True, callback=_pairs,
            help="Set a SQL variable, read with getvariable('NAME'); repeatable.",
        ),
        click.option("--db", metavar="PATH", default=IN_MEMORY, help="DuckDB file; created if missing."),
    ):  # fmt: skip
        command = option(command)
    return command


def job_options(command: Command) -> Command:
    """The options of every command that runs AI calls: the settings of its job, by their names."""
    from sqlinfer.config.job_settings import NAMES

    for name in reversed(NAMES):
        flag = "--" + name.replace("_", "-")
        if name == "environment":
            option = click.option(flag, name, metavar="NAME=VALUE", multiple=True, help=_SETTINGS[name])
        else:
            option = click.option(flag, name, metavar="VALUE", help=_SETTINGS[name])
        command = option(command)
    return command


def take_job_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Take the job settings that were given out of a command's options, and check them."""
    from sqlinfer.config.job_settings import NAMES, read_settings

    values: dict[str, Any] = {name: options.pop(name) for name in NAMES}
    values["environment"] = key_values(values["environment"])
    return read_settings({name: value for name, value in values.items() if value not in (None, {})}, "command line")


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
            raise click.BadParameter(f"{name!r} is not a valid variable name: use letters, digits and _")
    return pairs


def read_scripts(files: Sequence[str], sql: str | None) -> list[SqlText]:
    """The texts of SQL files, or that of -c; "-" is standard input."""
    if not files and sql is None:
        raise click.UsageError("Missing argument 'FILE...': name SQL files, - for standard input, or give SQL with -c.")
    if files and sql is not None:
        raise click.UsageError("FILE and -c cannot be given together.")
    scripts = [] if sql is None else [SqlText("-c", sql, None)]
    for file in files:
        try:
            with click.open_file(file, encoding="utf-8") as opened:
                text = opened.read()
        except UnicodeDecodeError as error:
            raise SqlinferError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}") from None
        scripts.append(SqlText(file, text, None if file == "-" else Path(file).resolve().parent))
    return scripts


def open_store(allow_download: bool = False) -> Store:
    """The store with the built-in models, as every command and session has it."""
    from sqlinfer.engine import BUILTINS, DEFAULTS

    return Store(builtins=BUILTINS, defaults=DEFAULTS, allow_download=allow_download)


def open_session(
    options: Mapping[str, Any],
    scripts: Iterable[SqlText],
    store: bool = True,
    job_settings: Mapping[str, Any] | None = None,
    allow_download: bool = False,
) -> Session:
    """A session as the session_options say, with --set as variables."""
    from sqlinfer import connect
    from sqlinfer.cli.failures import duckdb_errors

    db = options["db"]
    beside = [script.folder for script in scripts if script.folder is not None]
    try:
        session = connect(
            db,
            model=options.get("model"),
            store=store,
            udfs=function_folders(beside),
            allow_download=allow_download,
            settings=job_settings,
        )
    except duckdb_errors() as error:
        locked = re.search(r"held in (.*?) ?\(PID (\d+)\)", str(error))
        if locked is None:
            raise
        raise SqlinferError(
            f"The database {db} is locked by another process: {locked[1]}, PID {locked[2]}. DuckDB lets one process "
            f"write to a file: wait until it ends, end it, or choose another file with --db."
        ) from None
    session.runtime.advise("--model NAME")
    session.execute("SET python_enable_replacements = false")  # a name in SQL is never a variable of this program
    for name, value in options["settings"].items():
        session.execute(f"SET VARIABLE {quote_identifier(name)} = {quote_literal(value)}")
    return session
