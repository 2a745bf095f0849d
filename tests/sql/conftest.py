"""A session on the echo model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import sqlinfer
from sqlinfer.sql import Session
from tests.conftest import EchoEngine

UDFS = Path(__file__).parent / "udfs"


@pytest.fixture
def con(registered: None, echo: EchoEngine) -> Iterator[Session]:
    """A session whose model is the echo engine, with the test's own functions."""
    with sqlinfer.connect(model="echo", udfs=[UDFS]) as session:
        session.runtime.open_engine = lambda version: echo
        yield session


@pytest.fixture
def direct(registered: None, echo: EchoEngine) -> Iterator[duckdb.DuckDBPyConnection]:
    """A plain DuckDB connection in direct mode, with a store of its own that forgets."""
    connection = duckdb.connect()
    with sqlinfer.register(connection, model="echo", store=False, udfs=[UDFS]) as registration:
        registration.runtime.open_engine = lambda version: EchoEngine()
        yield connection
    connection.close()


@pytest.fixture
def texts(con: Session) -> Session:
    """The session, with six rows of three texts."""
    con.execute("CREATE TABLE texts AS SELECT i, 'text ' || (i % 3) AS body FROM range(6) r(i)")
    return con
