"""The database files that are made here, read by the DuckDB program."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import sqlinfer
from sqlinfer.sql.storage import STORAGE_VERSION

ROOT = Path(__file__).parents[2]
SETTING = "storage_compatibility_version"
Version = Callable[[Path], str]


@pytest.fixture
def version() -> Version:
    """The storage version of a file, as DuckDB names it."""

    def of(path: Path) -> str:
        with duckdb.connect(path, read_only=True) as connection:
            sql = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = current_database()"
            return str(connection.execute(sql).fetchall()[0][0]).removesuffix("+")

    return of


def make(path: Path, config: dict[str, Any] | None = None) -> None:
    with sqlinfer.connect(path, config=config) as session:
        session.execute("CREATE TABLE t AS SELECT 7 AS i")


def read(program: str, path: Path) -> str:
    command = [program, path, "-list", "-noheader", "-c", "FROM t"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_storage_version_is_that_of_the_oldest_duckdb_that_is_taken() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = STORAGE_VERSION.removeprefix("v").removesuffix(".0")
    assert f"duckdb>={oldest}" in project["dependencies"]
    assert f"duckdb-cli>={oldest}" in project["optional-dependencies"]["shell"]


def test_the_duckdb_program_reads_a_new_file_and_an_attached_one(
    duckdb_program: str, version: Version, tmp_path: Path
) -> None:
    main, other = tmp_path / "main.duckdb", tmp_path / "other.duckdb"
    with sqlinfer.connect(main) as session:
        session.execute(f"ATTACH '{other}' AS other; CREATE TABLE t AS SELECT 1 AS i; CREATE TABLE other.t AS FROM t")
    with sqlinfer.connect() as session:
        session.execute(f"ATTACH '{tmp_path}/third.duckdb' AS third; CREATE TABLE third.t AS SELECT 1 AS i")
    for path in (main, other, tmp_path / "third.duckdb"):
        assert read(duckdb_program, path) == "1\n"
        assert version(path) == STORAGE_VERSION


def test_a_version_that_the_user_names_wins(version: Version, tmp_path: Path) -> None:
    named, attached = tmp_path / "named.duckdb", tmp_path / "attached.duckdb"
    make(named, {SETTING.upper(): "v1.2.0"})
    assert version(named) == "v1.2.0"
    with sqlinfer.connect() as session:
        session.execute(f"ATTACH '{attached}' AS a (STORAGE_VERSION 'v1.2.0')")
    assert version(attached) == "v1.2.0"
    with sqlinfer.connect(config={SETTING: "v1.2.0"}) as session:
        session.execute(f"ATTACH '{tmp_path}/by_config.duckdb' AS a")
    assert version(tmp_path / "by_config.duckdb") == "v1.2.0"


@pytest.mark.parametrize("is_of", ["v1.0.0", "latest"])
def test_an_existing_file_keeps_its_version(is_of: str, version: Version, tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    duckdb.connect(path, config={SETTING: is_of}).close()
    before = version(path)
    make(path)
    with sqlinfer.connect(path, read_only=True) as session:
        assert session.execute("FROM t").fetchall() == [(7,)]
    assert version(path) == before


@pytest.mark.parametrize("is_new", [True, False])
def test_plain_connections_of_the_process_open_the_same_file(is_new: bool, tmp_path: Path) -> None:
    path = tmp_path / "shared.duckdb"
    if is_new:
        with sqlinfer.connect(path), duckdb.connect(path) as plain:
            assert plain.execute("SELECT 1").fetchall() == [(1,)]
    else:
        with duckdb.connect(path), sqlinfer.connect(path) as session:
            assert session.execute("SELECT 1").fetchall() == [(1,)]


def test_memory_and_a_locked_configuration_open_as_ever(tmp_path: Path) -> None:
    with duckdb.connect(":memory:shared") as plain, sqlinfer.connect(":memory:shared") as session:
        plain.execute("CREATE TABLE t AS SELECT 7 AS i")
        assert session.execute("FROM t").fetchall() == [(7,)]
    make(tmp_path / "locked.duckdb", {"lock_configuration": "true"})


def test_no_file_is_made_where_none_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(duckdb.Error, match="does not exist"):
        sqlinfer.connect(tmp_path / "none.duckdb", read_only=True)
    assert not list(tmp_path.glob("none*"))
