"""What SQL may not do: fetch models, name what a locked registry has not, keep secrets. And who reads the store."""

from __future__ import annotations

import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sqlinfer.store import Store
from tests.cli.conftest import Invoke
from tests.conftest import EchoEngine, write_model

Query = Callable[..., str]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A hub of one model, org/name, and an empty local cache in front of it; what is asked of the hub."""
    import huggingface_hub

    asked: list[dict[str, Any]] = []
    folder = tmp_path / "snapshots" / COMMIT

    def download(source: str, *, local_files_only: bool, **options: Any) -> str:
        if not local_files_only:
            asked.append({"source": source, **options})
            write_model(folder)
        if source != "org/name" or not folder.is_dir():
            raise FileNotFoundError(source)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return asked


def said_by(invoke: Invoke, *words: str) -> str:
    return " ".join(invoke(*words, code=1).stderr.split())


def test_sql_fetches_no_model_and_names_the_command_that_does(
    invoke: Invoke, query: Query, echoing: EchoEngine, hub: list[dict[str, Any]]
) -> None:
    for sql in ("SELECT ai_query('org/name', 'hi')", "CREATE MODEL m FROM 'org/name'"):
        said = said_by(invoke, "run", query(sql))
        assert "is not in the local hub cache, and SQL does not download models" in said
        assert "sqlinfer models pull org/name" in said
    assert "models pull org/name" in said_by(invoke, "run", query("SELECT ai_gen('hi')"), "--model", "org/name")
    assert "models pull org/name" in said_by(invoke, "explain", query("SELECT ai_query('org/name', 'hi')"))
    assert (hub, echoing.asked) == ([], [])
    invoke("run", query("SELECT ai_query('org/name', 'hi')"), "--allow-download")
    assert [each["source"] for each in hub] == ["org/name"]


def test_what_is_pulled_is_pinned_by_commit_and_fingerprint(
    invoke: Invoke, query: Query, echoing: EchoEngine, hub: list[dict[str, Any]], home: Path
) -> None:
    said = invoke("models", "pull", "org/name", "--revision", "main").stdout
    with Store(home) as store:
        pinned = store.registry.get("org/name")
    assert hub == [{"source": "org/name", "revision": "main", "ignore_patterns": hub[0]["ignore_patterns"]}]
    assert (str(pinned), pinned.revision) == ("org/name/1", COMMIT)
    assert f"org/name/1 is at revision {COMMIT}, fingerprint {pinned.fingerprint}" in said
    invoke("run", query("SELECT ai_query('org/name', 'hi')"))
    assert len(hub) == 1
    write_model(pinned.path, weight=2.0)
    said = said_by(invoke, "run", query("SELECT ai_query('org/name', 'other')"))
    assert "have changed since it was registered" in said
    said = said_by(invoke, "models", "pull", "org/name", "--fingerprint", pinned.fingerprint)
    assert f"and not {pinned.fingerprint}" in said
    assert echoing.texts == ["hi"]


def test_a_locked_registry_lets_sql_name_registered_models_only(
    invoke: Invoke, query: Query, echoing: EchoEngine, echo_folder: Path, hub: list[dict[str, Any]]
) -> None:
    invoke("models", "lock")
    for sql in (f"SELECT ai_query('{echo_folder}', 'hi')", "SELECT ai_query('org/name', 'hi')"):
        said = said_by(invoke, "run", query(sql), "--allow-download")
        assert "The registry is locked: SQL can use registered models only" in said
        assert "sqlinfer models unlock" in said
    for sql in (f"CREATE MODEL m FROM '{echo_folder}'", "ALTER MODEL echo SET ALIAS a = 1", "DROP MODEL echo"):
        assert f"is locked, so {sql.split()[0]} MODEL is refused" in said_by(invoke, "run", query(sql))
    assert (hub, echoing.asked) == ([], [])
    invoke("run", query("SELECT ai_query('echo', 'hi')"))
    invoke("models", "register", "again", str(echo_folder))
    invoke("models", "unlock")
    invoke("run", query(f"SELECT ai_query('{echo_folder}', 'there'); DROP MODEL again"))
    assert echoing.texts == ["hi", "there"]


def test_secrets_reach_neither_store_nor_message(invoke: Invoke, query: Query, echoing: EchoEngine, home: Path) -> None:
    secret = "s3cr3t-V4lue"
    sql = f"""CREATE SECRET s (TYPE http, BEARER_TOKEN '{secret}');
        SELECT ai_gen('boom with password={secret}');
        ATTACH 'postgres://ann:{secret}@db/shop' AS shop"""
    result = invoke("run", query(sql), "--model", "echo", "--set", f"api_key={secret}", code=1)
    assert secret not in result.output
    result = invoke("run", query(f"ATTACH 'nowhere://ann:{secret}@db/x' AS x (TYPE nothing)"), code=1)
    assert secret not in result.output
    for file in home.glob("state.db*"):
        assert secret.encode() not in file.read_bytes()
    for words in (["jobs", "show", "1"], ["jobs", "list"], ["jobs", "errors", "1"]):
        assert secret not in invoke(*words, "--json").output


def test_a_run_opens_no_connection(invoke: Invoke, query: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "sendto", refuse)
    assert "1 generated" in invoke("run", query("SELECT ai_gen('hi', max_tokens := 2)")).stderr


def test_a_store_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    Store(tmp_path / "wide").close()
    (tmp_path / "wide" / "state.db").chmod(0o644)
    with Store(tmp_path / "wide") as store:
        store.registry.lock.set(True)
        modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "wide").glob("state.db*")}
    assert modes == {0o600}
