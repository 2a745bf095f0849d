"""`sqlinfer shell`: the official DuckDB shell with the functions loaded."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from sqlinfer import __version__
from sqlinfer.errors import SqlinferError
from sqlinfer.sql_text import quote_literal
from sqlinfer.store import function_folders

_WAIT_S = "120"
"""How long a call waits for a server that is being started again."""
_RESTART_S = 1.0
_MAGIC, _MAGIC_AT = b"DUCK", 8
"""What a DuckDB file has behind its checksum."""


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("words", metavar="[DB] [DUCKDB OPTIONS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--model", metavar="NAME", help="Default model: a registered name, a hub id or a ./folder.")
@click.option("--server", metavar="HOST:PORT", help="A server on another machine; its token is in SQLINFER_TOKEN.")
def shell(words: tuple[str, ...], model: str | None, server: str | None) -> None:
    """Open a DuckDB shell with the functions loaded.

    It is the official `duckdb` program, from PATH or from the package duckdb-cli, with its history, dot-commands and
    ~/.duckdbrc, and takes its options. The models live in a server (`sqlinfer serve`), which is started if none runs.

    \b
    sqlinfer shell
    sqlinfer shell news.duckdb --model short@champion
    sqlinfer shell news.duckdb -csv -c "SELECT ai_sentiment(title) FROM news"
    """
    from sqlinfer.serve.address import EXTENSION

    if "-h" in words:
        click.echo(click.get_current_context().get_help())
        return
    for word in words:
        if word.startswith("--") and not set(word) & set(" \n"):  # DuckDB's own have one dash
            raise click.NoSuchOption(word)
    program = find_program()
    if program is None:
        raise click.ClickException("There is no `duckdb` program: pip install duckdb-cli")
    if not EXTENSION.is_file():
        raise click.ClickException(
            "This installation has no DuckDB extension. `make extension` builds it in a checkout; an installation from "
            "a checkout (pip install .) brings it where there is a C compiler."
        )
    for word in words:
        _check_readable(program, word)
    sys.exit(_run(program, EXTENSION, words, model, server))


def find_program() -> Path | None:
    """The DuckDB shell: from PATH, else from the package duckdb-cli. Of a package's script its program is taken: the
    script ends at Ctrl-C."""
    on_path = shutil.which("duckdb")
    if on_path is not None and not _begins(Path(on_path), b"#!"):
        return Path(on_path)
    package = importlib.util.find_spec("duckdb_cli")
    for folder in package.submodule_search_locations or [] if package else []:
        program = Path(folder) / "duckdb"
        if os.access(program, os.X_OK):
            return program
    return None if on_path is None else Path(on_path)


def _begins(path: Path, with_bytes: bytes, at: int = 0) -> bool:
    """Whether it is a file with these bytes at a place."""
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(len(with_bytes)) == with_bytes
    except (OSError, ValueError):  # words that are no path: a folder, SQL, too long
        return False


def _check_readable(program: Path, word: str) -> None:
    """Raise an error with a remedy if the program cannot read a database file because a newer DuckDB wrote it."""
    path = Path(word)
    if not _begins(path, _MAGIC, _MAGIC_AT):
        return
    sql = f"SELECT version(); ATTACH {quote_literal(word)} AS f (READ_ONLY)"
    command = [str(program), "-init", os.devnull, "-list", "-noheader", "-c", sql]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    refused = re.search(r"version number (\d+)\D.* (\d+)\b", tried.stderr)
    if refused is None or int(refused[1]) <= int(refused[2]):
        return
    version = tried.stdout.strip()
    minor = version.rpartition(".")[0]
    copy = path.with_name(f"{path.stem}_{minor.replace('.', '_')}{path.suffix}")
    statements = (
        f"ATTACH {quote_literal(word)} AS old (READ_ONLY); "
        f"ATTACH {quote_literal(str(copy))} AS new (STORAGE_VERSION '{minor}.0'); COPY FROM DATABASE old TO new"
    )
    raise click.ClickException(
        f"{word} was made by a newer DuckDB: it has storage version {refused[1]}, and {program} ({version}) reads up "
        f"to {refused[2]}. Copy it for that program with\n  echo {_shell_text(statements)} | sqlinfer run -"
    )


def _shell_text(text: str) -> str:
    """Quoted for a command line, in double quotes where they do: SQL has many single ones."""
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'


def _run(program: Path, extension: Path, words: Sequence[str], model: str | None, server: str | None) -> int:
    """Run the DuckDB shell to its end; a server that dies meanwhile is started again. words: for the shell."""
    from sqlinfer.serve.address import SERVER, TOKEN, socket_path
    from sqlinfer.serve.client import exchange
    from sqlinfer.serve.context import Context, local_context
    from sqlinfer.serve.launch import ensure_server

    if server is None:
        ensure_server()
    address = server or str(socket_path())
    context = str(Context(model) if server else local_context(model, function_folders()))
    token = os.environ.get(TOKEN, "")
    try:
        if server is not None and (version := exchange(server, ["hello"], token)[0]) != __version__:
            click.echo(f"Note: the server at {server} is sqlinfer {version}, and this is {__version__}.", err=True)
        (functions,) = exchange(address, ["macros", context, address], token)
    except OSError as error:
        raise click.ClickException(f"no sqlinfer server answers at {address}: {error}") from None
    with tempfile.TemporaryDirectory(prefix="sqlinfer-") as folder:
        file = Path(folder) / "functions.sql"
        file.write_text(_settings(extension) + (functions or ""), encoding="utf-8")
        quiet = ["-cmd", ".output /dev/null", "-cmd", f".read '{file}'", "-cmd", ".output"]
        command = [str(program), "-unsigned", *quiet, *words]
        environment = {**os.environ, SERVER: address} | ({} if server else {"SQLINFER_WAIT_S": _WAIT_S})
        signal.signal(signal.SIGINT, lambda *_: None)  # the shell's own, which gets it from the terminal too
        with subprocess.Popen(command, env=environment) as process:
            while True:
                try:
                    return process.wait(_RESTART_S)
                except subprocess.TimeoutExpired:
                    if server is None:
                        _revive()


def _settings(extension: Path) -> str:
    """What a DuckDB needs besides the functions. Its threads wait for the server most of the time, and only tables that
    are handed out in small parts keep many of them waiting."""
    threads = max(16, os.cpu_count() or 1)
    return f"LOAD {quote_literal(str(extension))};\nSET threads = {threads};\nPRAGMA verify_parallelism;\n"


def _revive() -> None:
    """Start the server again if it is gone."""
    from sqlinfer.serve.launch import running_server, start

    with suppress(SqlinferError):  # it does not answer: the calls say so
        if running_server() is None:
            start()
