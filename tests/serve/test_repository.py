"""DuckDB 2.0 takes the extension from a signed repository, without being told to allow unsigned ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from extension.repository import install_sql, write_repository
from sqlinfer.serve.address import socket_path
from sqlinfer.serve.client import exchange
from sqlinfer.serve.server import Server


@pytest.mark.skipif(duckdb.__version__.startswith("1."), reason="DuckDB 1.x knows no repositories of one's own")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="signing needs the openssl program")
def test_a_signed_extension_loads_in_later_sessions_and_a_changed_one_does_not(
    server: Server, extension: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where DuckDB keeps the key that it was told
    folder = tmp_path / "repository"
    write_repository(folder, extension, tmp_path / "key.pem")
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    config = {"home_directory": str(tmp_path)}
    with duckdb.connect() as con, pytest.raises(duckdb.Error, match="signature"):
        con.execute(f"LOAD '{extension}'")
    with duckdb.connect(config=config) as con:
        con.execute(install_sql(str(folder)))
    (sql,) = exchange(str(socket_path()), ["macros", "", str(socket_path())])
    with duckdb.connect(config=config) as con:
        con.execute("LOAD sqlinfer FROM sqlinfer")
        con.execute(str(sql))
        assert con.execute("SELECT ai_gen('hi')").fetchone() == ("<hi>",)
    (placed,) = (tmp_path / ".duckdb").rglob("sqlinfer.duckdb_extension")
    code = bytearray(placed.read_bytes())
    code[5000] ^= 1
    placed.unlink()  # the library that is loaded stays as it is
    placed.write_bytes(code)
    with duckdb.connect(config=config) as con, pytest.raises(duckdb.Error):
        con.execute("LOAD sqlinfer FROM sqlinfer")
