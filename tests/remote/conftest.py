"""A faulty server, and a session whose model lies behind its address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sqlinfer
from sqlinfer.sql import Session
from sqlinfer.store import Store
from tests.remote.faulty_server import FaultyServer, serving


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving() as state:
        yield state


@pytest.fixture
def con(home: Path, server: FaultyServer) -> Iterator[Session]:
    with Store(home) as store:
        store.registry.register("far", f"{server.url}#m")
    with sqlinfer.connect(model="far") as session:
        yield session
