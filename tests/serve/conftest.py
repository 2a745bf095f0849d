"""A server on the echo model, the extension, and connections that have its functions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from extension.build import BUILT, build, can_build
from sqlinfer.functions import load_functions
from sqlinfer.inference.runtime import Runtime
from sqlinfer.serve.address import socket_path
from sqlinfer.serve.client import exchange
from sqlinfer.serve.server import Server
from sqlinfer.serve.service import Service
from sqlinfer.store import Store
from tests.conftest import EchoEngine

UDFS = Path(__file__).parents[1] / "sql" / "udfs"
Connect = Callable[[], duckdb.DuckDBPyConnection]


@pytest.fixture(scope="session")
def extension() -> Path:
    """The extension, built where `make extension` puts it."""
    if not can_build():
        pytest.skip("the extension needs a C compiler and DuckDB's headers: make extension")
    return build(BUILT)


@pytest.fixture
def service(registered: None, echo: EchoEngine) -> Iterator[Service]:
    """What a server answers with, on the echo engine."""
    with Store() as store:
        runtime = Runtime(store, load_functions(UDFS), model="echo")
        runtime.open_engine = lambda version: echo
        service = Service(runtime)
        yield service
        service.close()


@pytest.fixture
def server(service: Service) -> Iterator[Server]:
    """A server in this process, on the socket of the state folder."""
    server = Server(service, token="open sesame")
    server.listen(socket_path())
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.stop.set()
    thread.join()


@pytest.fixture
def loaded(server: Server, extension: Path) -> Iterator[Connect]:
    """Makes plain DuckDB connections with the extension and its functions."""
    made: list[duckdb.DuckDBPyConnection] = []

    def connect() -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        connection.execute(f"LOAD '{extension}'")
        (sql,) = exchange(str(socket_path()), ["macros", "", str(socket_path())])
        connection.execute(str(sql))
        made.append(connection)
        return connection

    yield connect
    for connection in made:
        connection.close()
