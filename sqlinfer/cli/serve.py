"""`sqlinfer serve`: the model server of the DuckDB shell and other programs."""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path

import click

from sqlinfer.errors import SqlinferError


@click.command()
@click.option("--model", metavar="NAME", help="Default model: a registered name, a hub id or a ./folder.")
@click.option("--tcp", metavar="HOST:PORT", help="Also listen on TCP, for clients that have the token.")
@click.option("--idle", type=float, metavar="SECONDS", help="Exit after this many seconds without a connection.")
def serve(model: str | None, tcp: str | None, idle: float | None) -> None:
    """Run the model server used by the DuckDB shell, until Ctrl-C.

    It listens on a Unix socket in the state folder that you alone can use. `sqlinfer shell` starts a server by itself;
    start one by hand to keep models loaded, or to answer other machines. The token for TCP is read from
    SQLINFER_TOKEN; if it is unset, a random one is written to the state folder.

    \b
    sqlinfer serve
    sqlinfer serve --tcp 0.0.0.0:7788
    """
    from sqlinfer.serve.address import TOKEN, functions_path, socket_path
    from sqlinfer.serve.client import split_address
    from sqlinfer.serve.macros import macros
    from sqlinfer.serve.server import Server
    from sqlinfer.serve.service import Service
    from sqlinfer.sql.connect import make_runtime
    from sqlinfer.store.private_files import write_file

    # DuckDB busy-waits for a call on one core. Torch's threads busy-wait for each other too, and would then lose
    # whole time slices at each matmul. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    path, tcp_address = socket_path(), split_address(tcp) if tcp else None
    runtime = make_runtime(model, True, None, None)
    token = os.environ.get(TOKEN) or (_token(path.with_name("serve.token")) if tcp else "")
    server = Server(Service(runtime, ends_itself=idle is not None), token, idle)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop.set())
    try:
        server.listen(path)
        click.echo(f"sqlinfer serve: {path}", err=True)
        if tcp_address:
            click.echo(f"sqlinfer serve: {server.listen_on_tcp(*tcp_address)}, token in {_where(path)}", err=True)
        write_file(functions_path(), macros(runtime.functions, str(path), ""))
        server.run()
    finally:
        runtime.store.close()


def _where(path: Path) -> str:
    from sqlinfer.serve.address import TOKEN

    return TOKEN if os.environ.get(TOKEN) else str(path.with_name("serve.token"))


def _token(path: Path) -> str:
    """The token in a file; a random one is written if there is none."""
    from sqlinfer.store.private_files import write_file

    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        token = secrets.token_urlsafe(24)
        write_file(path, token)
        return token
    except OSError as error:
        raise SqlinferError(f"the token in {path} cannot be read: {error.strerror}") from None
