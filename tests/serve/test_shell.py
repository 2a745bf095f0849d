"""The official DuckDB shell in a pseudo-terminal."""

from __future__ import annotations

import importlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pexpect
import pytest
from click.testing import CliRunner

from sqlinfer.cli import main
from sqlinfer.serve.address import socket_path
from sqlinfer.serve.client import exchange
from sqlinfer.store import Store
from tests.serve.test_extension import served
from tests.slow_echo import PATIENCE_S, wait_for_answers

ROOT = Path(__file__).parents[2]
SIZE = (50, 200)
PROMPT = r"\S*memory\S* D "  # what is typed before it is lost
Open = Callable[..., pexpect.spawn]


@pytest.fixture
def terminal(tmp_path: Path, home: Path) -> Iterator[Open]:
    """Opens programs in a terminal."""
    opened: list[pexpect.spawn] = []

    def spawn(*command: str, **environment: str) -> pexpect.spawn:
        env = {**os.environ, "HOME": str(tmp_path), "TERM": "xterm", "PYTHONPATH": str(ROOT), **environment}
        said = {"env": env, "timeout": PATIENCE_S, "encoding": "utf-8", "dimensions": SIZE}
        shell = pexpect.spawn(command[0], list(command[1:]), **said)
        opened.append(shell)
        return shell

    yield spawn
    for shell in opened:
        shell.close(force=True)
    if (home / "serve.lock").exists() and (pid := (home / "serve.lock").read_text()):
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def test_ctrl_c_gives_the_prompt_back_and_the_server_goes_on(
    terminal: Open, duckdb_program: str, extension: Path, registered: None, home: Path, tmp_path: Path
) -> None:
    server = served(home)
    init = tmp_path / "init.sql"
    init.write_text(f"LOAD '{extension}';\n" + (home / "functions.sql").read_text())
    shell = terminal(duckdb_program, "-unsigned", "-cmd", f".read {init}")
    shell.expect(PROMPT)
    shell.sendline("SELECT 'rea' || 'dy';")
    shell.expect("ready")
    shell.sendline("SELECT count(ai_gen('text ' || i)) FROM range(20000) r(i);")
    wait_for_answers(home)
    shell.sendintr()
    shell.expect(r"\^C" + PROMPT)
    shell.sendline("SELECT ai_gen('af' || 'ter');")
    shell.expect("<after>")
    assert server.poll() is None
    with Store(home) as store:
        assert 0 < store.answers.stats()["answers"] < 20000
    server.terminate()
    server.wait(PATIENCE_S)


def test_sqlinfer_shell_starts_server_and_duckdb_and_leaves_duckdb_as_it_is(
    terminal: Open, duckdb_program: str, extension: Path, tmp_path: Path, home: Path
) -> None:
    (tmp_path / ".duckdbrc").write_text("CREATE TEMP MACRO mine() AS 'from my ' || 'rc';\n")
    shell = terminal(sys.executable, "-m", "sqlinfer", "shell", str(tmp_path / "x.duckdb"))
    shell.expect(PROMPT.replace("memory", "x"))
    shell.sendline("SELECT mine();")
    shell.expect("from my rc")
    shell.sendline("CREATE TABLE t AS SELECT i, ai_count_tokens(text := 'a b ' || i) AS n FROM range(3) r(i);")
    shell.sendline("SELECT 'n=' || count(n) FROM t;")
    shell.expect("n=3")
    shell.sendline(".tables")
    shell.expect("3 rows")
    pid = int((home / "serve.lock").read_text())
    os.kill(pid, signal.SIGKILL)
    shell.sendline("SELECT 'again=' || (ai_count_tokens('c d e') > 0);")
    shell.expect("again=true")
    assert int((home / "serve.lock").read_text()) != pid
    shell.sendline(".quit")
    shell.expect(pexpect.EOF)
    assert exchange(str(socket_path()), ["hello"])
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in home.iterdir()} == {0o600}
    assert (home / ".gitignore").read_text() == "*\n"
    assert "ai_count_tokens" in (tmp_path / ".duckdb_history").read_text()


def test_options_are_those_of_duckdb(duckdb_program: str, extension: Path, registered: None, home: Path) -> None:
    server = served(home)

    def shell(*words: str, sql: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sqlinfer", "shell", *words]
        return subprocess.run(command, input=sql, capture_output=True, text=True, check=False, cwd=ROOT)

    assert shell("-csv", "-c", "SELECT ai_gen('a') AS x").stdout == "x\n<a>\n"
    assert shell("-csv", "-noheader", sql="SELECT ai_gen('b');").stdout == "<b>\n"
    assert "boom" in shell("-c", "SELECT ai_gen('boom')").stderr
    assert "No such option '--modle'" in shell("--modle", "x").stderr
    assert "Usage:" in shell("-h").stdout
    server.terminate()
    server.wait(PATIENCE_S)


@pytest.mark.parametrize("name", ["new.duckdb", 'it\'s a "new" $one.duckdb'])
def test_a_file_of_a_newer_duckdb_is_refused_with_a_copy_that_can_be_read(
    duckdb_program: str, extension: Path, home: Path, tmp_path: Path, name: str
) -> None:
    with duckdb.connect(tmp_path / name, config={"storage_compatibility_version": "latest"}) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS i; CREATE VIEW v AS SELECT i + 1 FROM t")
    command = [duckdb_program, "-list", "-noheader", name, "-c", "FROM v"]
    if not subprocess.run(command, capture_output=True, cwd=tmp_path, check=False).returncode:
        pytest.skip("the duckdb program is as new as the package duckdb")
    refused = subprocess.run(
        [sys.executable, "-m", "sqlinfer", "shell", "-csv", name],
        capture_output=True, text=True, check=False, cwd=tmp_path, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert refused.returncode == 1
    assert f"{name} was made by a newer DuckDB" in refused.stderr
    assert not (home / "serve.lock").exists()
    (copying,) = (line for line in refused.stderr.splitlines() if line.startswith("  echo "))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", copying], cwd=tmp_path, env=environment, check=True)
    (copy,) = (path for path in tmp_path.glob("*.duckdb") if path.name != name)
    command[command.index(name)] = copy.name
    assert subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True).stdout == "8\n"


def test_without_duckdb_the_shell_says_how_to_get_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("sqlinfer.cli.shell"), "find_program", lambda: None)
    refused = CliRunner().invoke(main, ["shell"])
    assert refused.exit_code == 1
    assert "pip install duckdb-cli" in refused.output
