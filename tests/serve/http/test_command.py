"""`sqlinfer serve --http` as a user starts and ends it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import openai
import pytest
from click.testing import CliRunner
from openai import OpenAI

from sqlinfer.cli import main
from tests.serve.http.conftest import TINY

SERVE = [sys.executable, "-m", "sqlinfer", "serve"]


def test_a_server_that_others_can_reach_says_where_its_token_is(home: Path) -> None:
    with subprocess.Popen([*SERVE, "--http", "0.0.0.0:0"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = (re.search(r"http://0\.0\.0\.0:(\d+)/v1, token in (.*serve\.token)", line) for line in process.stderr)
        match = next(match for match in lines if match)
        options = {"base_url": f"http://127.0.0.1:{match[1]}/v1", "max_retries": 0}
        with OpenAI(**options, api_key="guess") as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
        with OpenAI(**options, api_key=Path(match[2]).read_text()) as client:
            assert client.models.retrieve(TINY).id == TINY
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--http", "8321"], "HOST:PORT"),
        (["--http", "127.0.0.1:0", "--idle", "5"], "leave out one"),
        (["--http", "192.0.2.1:8321"], "cannot listen at 192.0.2.1"),
    ],
)
def test_an_address_that_cannot_be_had_is_named(options: list[str], message: str, home: Path) -> None:
    result = CliRunner().invoke(main, ["serve", *options])
    assert result.exit_code != 0
    assert message in result.output


def test_a_missing_library_is_named_with_its_extra(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "sqlinfer.serve.http.http_server")
    result = CliRunner().invoke(main, ["serve", "--http", "127.0.0.1:0"])
    assert 'pip install "sqlinfer[server]"' in result.output
