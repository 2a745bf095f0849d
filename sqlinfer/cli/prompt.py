"""The shell of sqlinfer's own: statements at a prompt, with history, completion and DuckDB's result boxes.

For where there is no DuckDB shell; here `summarize(x)` and CREATE MODEL work too, as statements run in phases.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from sqlinfer.cli.failures import duckdb_errors, message
from sqlinfer.cli.progress import Watch
from sqlinfer.cli.run import NO_ROWS
from sqlinfer.cli.state import open_session
from sqlinfer.cli.stop import stopping
from sqlinfer.errors import SqlinferError
from sqlinfer.store import state_folder

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer

    from sqlinfer.sql import Session

_PROMPT, _CONTINUED = "sqlinfer> ", "     ...> "
_HELP = """\
A statement ends with a semicolon and may have several lines. Tab completes, the arrows bring earlier ones back.
  .functions   the functions with their arguments
  .tables      the tables and views
  .help        this
  .quit        leave; so does Ctrl-D"""
_TABLES = "SELECT database_name, schema_name, table_name FROM (SHOW ALL TABLES)"


def prompt(database: str, model: str | None) -> None:
    """Read statements and run them until the input ends."""
    with open_session({"db": database, "model": model, "settings": {}}, []) as session:
        for statement in _statements(_lines(session)):
            if statement in (".quit", ".exit"):
                return
            try:
                _run(session, statement)
            except KeyboardInterrupt:
                click.echo("stopped; every finished answer is kept. Run it again to go on", err=True)
            except Exception as error:
                if not isinstance(error, (SqlinferError, OSError, *duckdb_errors())):
                    raise
                click.echo(message(error), err=True)


def _lines(session: Session) -> Iterator[str]:
    """The lines of input, from a prompt if there is a terminal."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.shortcuts import CompleteStyle

    state_folder().mkdir(parents=True, exist_ok=True)
    history = FileHistory(str(state_folder() / "shell_history"))
    prompts: PromptSession[str] = PromptSession(
        history=history,
        completer=_completer(session),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
    )
    click.echo("sqlinfer's own shell. .help says more.")
    is_first = True
    while True:
        try:
            line = prompts.prompt(_PROMPT if is_first else _CONTINUED)
        except KeyboardInterrupt:
            yield ""  # an empty statement: what was begun is dropped
            is_first = True
            continue
        except EOFError:
            return
        is_first = line.startswith(".") or is_complete(line)
        yield line + "\n"


def _statements(lines: Iterable[str]) -> Iterator[str]:
    """Statements, and dot-commands, from lines."""
    from sqlinfer.sql.rewrite.split_statements import split

    begun = ""
    for line in lines:
        if not line:
            begun = ""
        elif not begun.strip() and line.startswith("."):
            yield line.strip()
        else:
            begun += line
            if is_complete(begun):
                yield from split(begun)
                begun = ""
    yield from split(begun)


def is_complete(text: str) -> bool:
    """Whether a text ends with the semicolon that ends a statement."""
    from sqlinfer.sql.rewrite.tokens import tokenize

    return bool(text.strip()) and (tokens := tokenize(text))[-1:] != [] and tokens[-1].text == ";"


def _run(session: Session, statement: str) -> None:
    if statement.startswith("."):
        _command(session, statement)
        return
    session.answerer.progress = watch = Watch()
    with stopping(lambda: [session], may_leave=False):
        with watch.asking():
            rows = session.sql(statement)
            shown = None if rows is None or rows.columns in NO_ROWS else str(rows)
        if shown is not None:
            click.echo(shown)


def _command(session: Session, command: str) -> None:
    match command:
        case ".help":
            click.echo(_HELP)
        case ".tables":
            click.echo(str(session.sql(_TABLES)))
        case ".functions":
            for function in dict.fromkeys(session.runtime.functions.values()):
                click.echo(f"{function.signature}  {function.help}")
        case _:
            raise SqlinferError(f"there is no command {command}\n{_HELP}")


def _completer(session: Session) -> Completer:
    """Completes functions, keywords, and the tables and columns that are there."""
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document

    functions = {name: function.signature for name, function in session.runtime.functions.items()}
    keywords = [row[0].upper() for row in session.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()]
    names = "SELECT table_name FROM duckdb_tables() UNION SELECT view_name FROM duckdb_views() WHERE NOT internal"
    columns = "SELECT column_name FROM duckdb_columns() WHERE NOT internal"

    class Words(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
            del complete_event
            word = document.get_word_before_cursor(pattern=None)
            if not word.strip():
                return
            own = [row[0] for row in session.execute(f"{names} UNION {columns}").fetchall()]
            for known in sorted({*own, *functions, *keywords}, key=str.lower):
                if known.lower().startswith(word.lower()):
                    yield Completion(known, -len(word), display_meta=functions.get(known, ""))

    return Words()
