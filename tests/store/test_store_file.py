from __future__ import annotations

import os
import random
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sqlinfer.errors import StoreUnusable
from sqlinfer.store import Store, state_folder
from sqlinfer.types import Completion, Request, Text
from tests.store.conftest import MakeModel, read_elsewhere

HEAVY = {"numpy", "duckdb", "torch", "transformers", "huggingface_hub", "pandas", "pyarrow", "click", "sqlglot"}


def test_sqlinfer_home_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sqlinfer.yml").touch()
    assert state_folder(tmp_path) == tmp_path / "home"
    monkeypatch.setenv("SQLINFER_HOME", "~/elsewhere")
    assert state_folder(tmp_path) == Path.home() / "elsewhere"


def test_the_nearest_project_upwards_holds_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SQLINFER_HOME")
    deep = tmp_path / "outer" / "inner" / "models"
    deep.mkdir(parents=True)
    (tmp_path / "outer" / "sqlinfer.yml").touch()
    assert state_folder(deep) == tmp_path / "outer" / ".sqlinfer"
    (tmp_path / "outer" / "inner" / "sqlinfer.yml").touch()
    assert state_folder(deep) == tmp_path / "outer" / "inner" / ".sqlinfer"
    monkeypatch.chdir(deep)
    assert state_folder() == tmp_path / "outer" / "inner" / ".sqlinfer"


def test_without_a_project_the_state_is_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SQLINFER_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder(tmp_path / "a") == tmp_path / ".sqlinfer"


@pytest.mark.skipif(os.name != "posix", reason="file modes are for POSIX")
def test_only_the_owner_may_read(tmp_path: Path) -> None:
    with Store(tmp_path / "home") as store:
        store.answers.put(Completion(Request("", key=b"k" * 16), Text("text")), fingerprint="f", function="g")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "home").glob("state.db*")}
        assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    assert (tmp_path / "home" / ".gitignore").read_text() == "*\n"
    assert "state.db-wal" in modes
    assert set(modes.values()) == {0o600}


def test_a_file_of_a_newer_sqlinfer_is_refused(tmp_path: Path) -> None:
    Store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreUnusable, match=r"version 99.*supports \d+.*pip install --upgrade sqlinfer"):
        Store(tmp_path)


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_corrupt_file_is_set_aside_and_made_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state.db").write_bytes(content)
    with Store(tmp_path) as store:
        store.answers.put(Completion(Request("", key=b"k" * 16), Text("text")), fingerprint="f", function="g")
    (backup,) = tmp_path.glob("state.db.corrupt-*")
    assert backup.read_bytes() == content
    assert f"state.db was corrupt. It was moved to {backup.name}" in caplog.text
    caplog.clear()
    with Store(tmp_path) as store:
        assert store.answers.texts([b"k" * 16]) == {b"k" * 16: "text"}
    assert caplog.text == ""


def test_a_file_that_turns_out_corrupt_keeps_its_registry(
    tmp_path: Path, make_model: MakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    with Store(tmp_path) as store:
        version = store.registry.register("news", str(make_model()), tags={"team": "a"})
        store.registry.set_alias("news", "best", 1)
        store.registry.lock.set(True)
        many = [Completion(Request("", key=number.to_bytes(16, "big")), Text("text" * 50)) for number in range(2000)]
        store.answers.put_many(many, fingerprint="f", function="g")
    path = tmp_path / "state.db"
    whole = path.read_bytes()
    damaged = whole[: len(whole) // 2] + b"\xff" * (len(whole) - len(whole) // 2)
    path.write_bytes(damaged)
    with Store(tmp_path) as store, pytest.raises(StoreUnusable, match=r"is corrupt.*Run the command again"):
        store.answers.texts([completion.request.key for completion in many])
    with Store(tmp_path) as store:
        assert store.registry.get("news@best") == replace(version, tags={"team": "a"})
        assert store.registry.lock.is_locked
        assert store.answers.texts([completion.request.key for completion in many]) == {}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (backup,) = tmp_path.glob("state.db.corrupt-*")
    assert backup.read_bytes() == damaged
    assert "1 registered model versions were recovered" in caplog.text


def test_processes_that_find_a_corrupt_file_rebuild_it_once(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is no database" * 100)
    code = f"from pathlib import Path; from sqlinfer.store import Store; Store(Path({str(tmp_path)!r})).close()"
    openers = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [opener.communicate(timeout=60)[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0, 0, 0], said
    assert "".join(said).count("was corrupt") == 1
    assert len(list(tmp_path.glob("state.db.corrupt-*"))) == 1


@pytest.mark.parametrize("fault", ["cut", "garbage"])
def test_a_power_cut_leaves_answers_that_are_whole(tmp_path: Path, fault: str) -> None:
    # What a disk may hold after a power cut: the log up to some byte, or with a last part that was never written.
    with Store(tmp_path / "before") as store:
        for number in range(200):
            store.answers.put(
                Completion(Request("", key=number.to_bytes(16, "big")), Text(f"answer {number}")),
                fingerprint="f",
                function="g",
            )
            store.answers.flush()
        log = read_elsewhere(tmp_path / "before" / "state.db-wal")
        database = read_elsewhere(tmp_path / "before" / "state.db")
        keys = [number.to_bytes(16, "big") for number in range(200)]
        whole = store.answers.texts(keys)
    assert len(whole) == 200
    source = random.Random(1)
    found_before = 0
    for length in sorted(source.sample(range(len(log)), 12)):
        after = tmp_path / f"after-{length}"
        after.mkdir()
        (after / "state.db").write_bytes(database)
        tail = b"" if fault == "cut" else source.randbytes(len(log) - length)
        (after / "state.db-wal").write_bytes(log[:length] + tail)
        with Store(after) as store:
            found = store.answers.texts(keys)
        assert found.items() <= whole.items()
        assert found == {key: whole[key] for key in keys[: len(found)]}
        assert len(found) >= found_before
        found_before = len(found)
        assert not list(after.glob("*corrupt*"))
    assert found_before > 0


def test_a_locked_file_is_told_after_the_wait(tmp_path: Path) -> None:
    with Store(tmp_path, timeout_s=0.2) as store:
        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnusable, match=r"locked by another process for 0\.2 s"):
            store.jobs.start("SELECT 1")
        store.answers.texts([b"k" * 16])  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        assert store.jobs.start("SELECT 1") == 1


def test_answers_that_could_not_be_written_are_written_later(tmp_path: Path) -> None:
    with Store(tmp_path, timeout_s=0.1) as store:
        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnusable):
            store.answers.put(Completion(Request("", key=b"k" * 16), Text("text")), fingerprint="f", function="g")
        assert store.answers.texts([b"k" * 16]) == {b"k" * 16: "text"}
        other.execute("ROLLBACK")
        other.close()
        store.answers.flush()
    with Store(tmp_path) as store:
        assert store.answers.texts([b"k" * 16]) == {b"k" * 16: "text"}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnusable, match="SQLINFER_HOME"):
        Store(tmp_path / "file" / "home")


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreUnusable, match="closed"):
        store.answers.texts([b"k" * 16])
    with pytest.raises(StoreUnusable, match="closed"):
        store.jobs.start("SELECT 1")


def test_importing_the_store_loads_nothing_heavy() -> None:
    command = "import sys, sqlinfer.store; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)
