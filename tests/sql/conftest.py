"""A session on the echo model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
