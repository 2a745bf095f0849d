"""A hub that answers over HTTP: SQL asks it nothing, `sqlinfer models pull` does, and then it is needed no more."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sqlinfer.engine import BUILTINS
from sqlinfer.store import Store
from tests import slow_echo

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SQL = "SELECT ai_query('org/name', 'hi', max_tokens := 2)"


class Hub(ThreadingHTTPServer):
    """Serves one repository, org/name, whose files are those of the built-in model. asked: paths, in order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        folder = BUILTINS["sqlinfer/tiny"].path
        self.files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        self.asked: list[str] = []


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        name = self.path.rpartition("/")[2]
        if self.path.startswith("/api/models/org/name/tree/"):
            sizes = {file: len(content) for file, content in self.server.files.items()}
            tree = [{"type": "file", "path": file, "size": size, "oid": COMMIT} for file, size in sizes.items()]
            self._send(json.dumps(tree).encode())
        elif self.path.startswith("/api/models/org/name"):
            siblings = [{"rfilename": file} for file in self.server.files]
            self._send(json.dumps({"id": "org/name", "sha": COMMIT, "siblings": siblings}).encode())
        elif self.path.startswith("/org/name/resolve/") and name in self.server.files:
            self._send(self.server.files[name])
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", hashlib.sha1(content).hexdigest())
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    yield server
    server.shutdown()
    server.server_close()


def run(*words: str, program: Sequence[str] = slow_echo.PROGRAM) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in slow_echo.environment().items() if name != "HF_HUB_OFFLINE"}
    return subprocess.run(
        [sys.executable, *program, *words], env=environment, capture_output=True, text=True, check=False
    )


def test_sql_fetches_nothing_and_a_pull_is_pinned(hub: Hub, home: Path, tmp_path: Path) -> None:
    (tmp_path / "query.sql").write_text(SQL)
    query = str(tmp_path / "query.sql")
    refused = run("run", query)
    assert (refused.returncode, hub.asked) == (1, [])
    assert "SQL does not download models. To download it: sqlinfer models pull org/name" in refused.stderr
    pulled = run("models", "pull", "org/name")
    assert pulled.returncode == 0, pulled.stderr
    with Store(home) as store:
        version = store.registry.get("org/name")
    assert (version.revision, version.path.name) == (COMMIT, COMMIT)
    assert f"fingerprint {version.fingerprint}" in pulled.stdout
    hub.asked.clear()
    done = run("run", query, program=("-m", "sqlinfer"))  # the weights are loaded, too
    assert (done.returncode, hub.asked) == (0, []), done.stderr


def test_a_download_that_is_allowed_is_fetched_once(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "query.sql").write_text(SQL)
    assert run("run", str(tmp_path / "query.sql"), "--allow-download").returncode == 0
    assert any(path.endswith("/model.safetensors") for path in hub.asked)
    hub.asked.clear()
    assert run("run", str(tmp_path / "query.sql")).returncode == 0
    assert hub.asked == []
