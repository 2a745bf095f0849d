"""`sqlinfer serve`: the model server of the DuckDB shell, of OpenAI's clients and other programs."""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sqlinfer.errors import SqlinferError

if TYPE_CHECKING:
    from sqlinfer.inference.runtime import Runtime
    from sqlinfer.serve.http.http_server import HttpServer


@click.command()
@click.option("--model", metavar="NAME", help="Default model: a registered name, a hub id or a ./folder.")
@click.option("--tcp", metavar="HOST:PORT", help="Also listen on TCP, for clients that have the token.")
@click.option("--http", metavar="HOST:PORT", help="Also answer OpenAI's API over HTTP.")
@click.option(
    "--max-queue",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="Most HTTP requests waiting or running.",
)
@click.option(
    "--max-body", type=click.IntRange(1), default=8 << 20, show_default=True, help="Most bytes of an HTTP body."
)
@click.option("--idle", type=float, metavar="SECONDS", help="Exit after this many seconds without a connection.")
def serve(
    model: str | None, tcp: str | None, http: str | None, max_queue: int, max_body: int, idle: float | None
) -> None:
    """Run the model server used by the DuckDB shell and by OpenAI's clients, until Ctrl-C.

    It listens on a Unix socket in the state folder that you alone can use. `sqlinfer shell` starts a server by itself;
    start one by hand to keep models loaded, or to answer other programs and machines. The token for TCP, and for HTTP
    at an address that others can reach, is read from SQLINFER_TOKEN; if it is unset, a random one is written to the
    state folder.

    \b
    sqlinfer serve
    sqlinfer serve --http 127.0.0.1:8321
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
    if http and idle is not None:
        raise click.UsageError("--idle ends a server that no shell is connected to, and --http has none; leave out one")
    path, tcp_address = socket_path(), split_address(tcp) if tcp else None
    runtime = make_runtime(model, True, None, None)
    token = os.environ.get(TOKEN) or (_token(path.with_name("serve.token")) if tcp else "")
    web = _http_server(runtime, http, max_body, max_queue) if http else None
    server = Server(Service(runtime, ends_itself=idle is not None), token, idle)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop.set())
    try:
        server.listen(path)
        click.echo(f"sqlinfer serve: {path}", err=True)
        if tcp_address:
            click.echo(f"sqlinfer serve: {server.listen_on_tcp(*tcp_address)}, token in {_where(path)}", err=True)
        write_file(functions_path(), macros(runtime.functions, str(path), ""))
        if web:
            web.start()
            token_place = f", token in {_where(path)}" if web.has_token else ""
            click.echo(f"sqlinfer serve: http://{web.address}/v1{token_place}", err=True)
        server.run()
    finally:
        if web:
            web.stop()
        runtime.store.close()


def _http_server(runtime: Runtime, http: str, max_body: int, max_queue: int) -> HttpServer:
    """The server of HTTP, which has the token of TCP at an address that others can reach."""
    from sqlinfer.serve.address import TOKEN, socket_path
    from sqlinfer.serve.client import split_address

    try:
        from sqlinfer.serve.http.gate import is_loopback
        from sqlinfer.serve.http.http_server import HttpLimits, HttpServer
    except ModuleNotFoundError as error:
        raise SqlinferError(f'--http needs {error.name}: pip install "sqlinfer[server]"') from None
    address = split_address(http)
    token = os.environ.get(TOKEN, "")
    if not token and not is_loopback(address[0]):
        token = _token(socket_path().with_name("serve.token"))
    return HttpServer(runtime, address, token, HttpLimits(max_body, max_queue))


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
