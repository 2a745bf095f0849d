"""`sqlinfer models warm`: models are loaded before the first query needs them."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sqlinfer import __version__
from sqlinfer.cli.state import open_store
from sqlinfer.cli.tables import echo_json, json_option
from sqlinfer.errors import SqlinferError
from sqlinfer.types import ModelVersion, WarmModel
from sqlinfer.units import duration, size

if TYPE_CHECKING:
    from sqlinfer.serve.launch import RunningServer

_FREED = (
    "No server runs: the files are in the page cache, and the memory is free again. To keep models loaded: "
    "sqlinfer serve"
)


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def warm(names: tuple[str, ...], as_json: bool) -> None:
    """Load models, so that the next query is answered at once; hub ids are downloaded.

    The server of `sqlinfer shell` and `sqlinfer serve` keeps them loaded, if one runs. If none does, they are loaded
    here once: their files are checked and read, and the self-tests run.

    \b
    sqlinfer models warm short qwen@champion
    """
    from sqlinfer.serve.launch import running_server

    server = running_server()
    if server is not None and server.version != __version__:
        raise SqlinferError(
            f"the server that runs is sqlinfer {server.version}, and this is {__version__}. End it, and start it anew: "
            f"kill {server.pid}; sqlinfer serve"
        )
    load = _load_here if server is None else _load_in_server
    warmed, errors = [], []
    with open_store(allow_download=True) as store:
        for name in names:
            try:
                model = load(name, store.registry.get(name))
            except SqlinferError as error:
                errors.append(str(error))
                continue
            warmed.append(asdict(model) | {"server": None if server is None else server.pid})
            if not as_json:
                click.echo(_sentence(model))
    if as_json:
        echo_json(warmed)
    elif warmed:
        click.echo(_FREED if server is None else _kept(server))
    if errors:
        raise SqlinferError("\n".join(errors))


def _kept(server: RunningServer) -> str:
    from sqlinfer.serve.launch import IDLE_S

    until = f" until no shell has been connected for {duration(IDLE_S)}" if server.ends_itself else ""
    return f"The server, PID {server.pid}, keeps them loaded{until}."


def _load_here(_: str, version: ModelVersion) -> WarmModel:
    from sqlinfer.backends import warm as load
    from sqlinfer.config.job_settings import SettingsLayers

    return load(version, SettingsLayers(), threading.Event())


def _load_in_server(name: str, _: ModelVersion) -> WarmModel:
    """Let the server load a model, whose folder it may see from another one."""
    from sqlinfer.serve.address import socket_path
    from sqlinfer.serve.client import exchange
    from sqlinfer.store.source import is_folder

    written = str(Path(name).expanduser().resolve()) if is_folder(name) else name
    (text,) = exchange(str(socket_path()), ["warm", "", written])
    fields = json.loads(text or "{}")
    return WarmModel(**{**fields, "path": tuple(fields["path"]), "left": tuple(fields["left"])})


def _sentence(model: WarmModel) -> str:
    if len(model.path) == 1:
        return f"{model.model} is at {model.path[0]}: there is nothing to load"
    left = f"; {', '.join(model.left)} left the memory" if model.left else ""
    return f"{model.model} is loaded: {duration(model.seconds)}, {size(model.bytes)}, {', '.join(model.path)}{left}"
