"""Secrets reach neither the exceptions that Python callers get, with what stands behind them, nor the log."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import sqlinfer
from sqlinfer.config.job_settings import JobSettings
from sqlinfer.errors import RequestsFailed, SqlinferError, with_causes
from sqlinfer.inference.retry import attempts
from sqlinfer.sql import Session
from sqlinfer.types import Completion, Request, Text
from tests.conftest import EchoEngine

SECRET = "s3cr3t-V4lue"
READER = """from sqlinfer import Request


def shaky(t: str) -> Request:
    'Break on its text.'
    error = OSError("GET https://x.example/?api_key=" + t)
    raise error CAUSE
"""


def said_by(run: Any, kind: type[BaseException]) -> str:
    """The whole traceback's text, but for the lines of source in it."""
    with pytest.raises(kind) as caught:
        run()
    return "".join(text for error in with_causes(caught.value) for text in traceback.format_exception_only(error))


@pytest.mark.parametrize("method", ["execute", "sql"])
@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        (f"ATTACH 'postgres://ann:{SECRET}@db/x' AS x oops", duckdb.Error),
        (f"CREATE SECRET s (TYPE s3, SECRET '{SECRET}') oops", duckdb.Error),
        (f"SELECT ai_gen('boom password={SECRET}') AS g", RequestsFailed),
        (f"SELECT ai_gen('a', temperature := 'token={SECRET}') AS g", SqlinferError),
    ],
)
def test_an_exception_holds_no_secret(con: Session, method: str, sql: str, kind: type[Exception]) -> None:
    said = said_by(lambda: getattr(con, method)(sql).fetchall(), kind)
    assert SECRET not in said
    assert "***" in said


@pytest.mark.parametrize("cause", ["", "from error"])  # its own cause
def test_what_a_users_function_raises_holds_no_secret(
    registered: None, echo: EchoEngine, tmp_path: Path, cause: str
) -> None:
    (tmp_path / "shaky.py").write_text(READER.replace("CAUSE", cause))
    with sqlinfer.connect(model="echo", udfs=[tmp_path]) as session:
        said = said_by(lambda: session.execute("SELECT shaky(t) FROM (SELECT $t AS t)", {"t": SECRET}), SqlinferError)
    assert "api_key=***" in said


class Refusing:
    """Fails once with an error that may pass, and that quotes what it was given."""

    def __init__(self) -> None:
        self.num_asked = 0

    def generate(self, requests: Iterable[Request], cancel: Any = None) -> Iterator[Completion]:
        for request in requests:
            self.num_asked += 1
            error = f"HTTP 401, Authorization: Bearer {SECRET}" if self.num_asked == 1 else None
            yield Completion(request, None if error else Text("fine"), error=error, is_retryable=bool(error))


def test_the_log_holds_no_secret(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlinfer.inference.retry._BACKOFF_S", 0.001)
    with caplog.at_level(logging.DEBUG, "sqlinfer"):
        list(attempts(Refusing().generate, [Request("a", key=b"a")], threading.Event(), JobSettings()))
    assert "asked again" in caplog.text
    assert SECRET not in caplog.text
