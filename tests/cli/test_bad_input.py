"""Bad input costs nothing and gets one message: what happened, the value, the nearest name, what mends it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sqlinfer.store import Store
from tests.cli.conftest import Invoke
from tests.conftest import EchoEngine, write_model

Query = Callable[..., str]


def refused(invoke: Invoke, *words: str, code: int = 1) -> str:
    """Run a command that fails; its message, which is no traceback."""
    result = invoke(*words, code=code)
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


def test_an_unknown_model_is_told_the_nearest_and_how_to_register(
    invoke: Invoke, query: Query, echoing: EchoEngine
) -> None:
    said = refused(invoke, "run", query("SELECT ai_query('ehco', 'a')"))
    assert "No model 'ehco' is registered. Did you mean echo? To register it: `sqlinfer models register" in said
    assert "No model 'ehco'" in refused(invoke, "run", query("SELECT ai_gen('a')"), "--model", "ehco")
    assert echoing.asked == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("ai_gen('a', temprature := 1)", "ai_gen has no parameter temprature. Did you mean temperature?"),
        ("summarize('a', 'many')", "summarize: max_words must be a whole number, not 'many'"),
        ("ai_gen('a', top_p := 2)", "ai_gen: top_p must be a number above 0 and at most 1, not"),
        ("ai_gen('a', on_error := 'skip')", "on_error must be 'fail' or 'null', not 'skip'"),
    ],
)
def test_a_wrong_parameter_is_named(invoke: Invoke, query: Query, echoing: EchoEngine, call: str, said: str) -> None:
    assert said in refused(invoke, "run", query(f"SELECT {call}"), "--model", "echo")
    assert echoing.asked == []


def test_sql_that_does_not_parse_gets_duckdbs_message(invoke: Invoke, query: Query) -> None:
    said = refused(invoke, "run", query("SELECT 1;\nSELEC 2"))
    assert 'query.sql, line 2: Parser Error: syntax error at or near "SELEC"' in said
    # Variables of the program itself are no tables.
    assert "Catalog Error: Table with name sys does not exist!" in refused(invoke, "run", query("FROM sys"))
    assert "Catalog Error: Table with name nowhere does not exist!" in refused(invoke, "run", query("FROM nowhere"))


def test_an_error_late_in_a_stream_is_a_message(invoke: Invoke, query: Query) -> None:
    sql = "SELECT CASE WHEN i = 90000 THEN 'x' ELSE '1' END::INT AS n FROM range(100000) t(i)"
    assert "line 1: Conversion Error: Could not convert string 'x' to INT32" in refused(
        invoke, "run", query(sql), "--format", "csv"
    )


def test_a_file_that_is_not_there_is_wrong_usage(invoke: Invoke, query: Query) -> None:
    assert "'nowhere.sql' does not exist" in refused(invoke, "run", "nowhere.sql", code=2)
    said = refused(invoke, "run", query("FROM read_csv('nowhere.csv')"))
    assert 'No files found that match the pattern "nowhere.csv"' in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "Missing argument 'FILE...'"),
        (["run", "-", "--set", "novalue"], "'novalue' is not of the form NAME=VALUE"),
        (["run", "-", "--set", "a b=1"], "'a b' is not a valid variable name"),
        (["run", "-", "--format", "xml"], "'xml' is not one of"),
        (["run", "-", "--modle", "x"], "No such option"),
        (["run", "-", "--format", "parquet", "--json"], "--json and --format parquet both write to stdout"),
        (["modles"], "No such command 'modles'"),
        (["models", "tag", "echo", "novalue"], "'novalue' is not of the form NAME=VALUE"),
    ],
)
def test_wrong_usage_ends_with_two(invoke: Invoke, words: list[str], said: str) -> None:
    assert said in refused(invoke, *words, code=2)


def test_a_file_of_bytes_is_no_sql(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "x.sql").write_bytes(b"\xff\xfe")
    assert "x.sql is not UTF-8 text" in refused(invoke, "run", str(tmp_path / "x.sql"))


def test_a_database_in_use_is_named_with_the_process(invoke: Invoke, query: Query, tmp_path: Path) -> None:
    path = tmp_path / "busy.duckdb"
    hold = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        said = refused(invoke, "run", query("SELECT 1"), "--db", str(path))
        holder.communicate("")
    assert f"The database {path} is locked by another process: " in said
    assert f"PID {holder.pid}" in said


def test_a_database_that_is_none_is_named(invoke: Invoke, query: Query, tmp_path: Path) -> None:
    (tmp_path / "x.duckdb").write_text("this is no database " * 1000)
    assert "x.duckdb" in refused(invoke, "run", query("SELECT 1"), "--db", str(tmp_path / "x.duckdb"))
    assert "no/x.duckdb" in refused(invoke, "run", query("SELECT 1"), "--db", "no/x.duckdb")


def test_a_model_folder_that_is_not_whole_is_refused(invoke: Invoke, query: Query, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_model(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-2])
    said = refused(invoke, "models", "register", "short", str(folder))
    assert f"{weights} is truncated" in said
    assert "is truncated" in refused(invoke, "run", query(f"SELECT ai_query('{folder}', 'a')"))
    weights.unlink()
    assert "contains no *.safetensors" in refused(invoke, "models", "register", "short", str(folder))
    assert "There is no folder" in refused(invoke, "models", "register", "short", str(tmp_path / "nowhere"))


def test_pickled_weights_need_trust(invoke: Invoke, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_model(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    said = refused(invoke, "models", "register", "old", str(folder))
    assert "pickled weights only (pytorch_model.bin)" in said
    assert "--trust" in said
    assert "old/1 is registered" in invoke("models", "register", "old", str(folder), "--trust").stdout


def test_a_table_that_is_there_stops_before_anything_is_asked(
    invoke: Invoke, query: Query, echoing: EchoEngine
) -> None:
    file = query("CREATE TABLE t AS SELECT 1 AS i; CREATE TABLE t AS SELECT ai_gen('a') AS g")
    said = refused(invoke, "run", file, "--model", "echo")
    assert "table t exists already; write CREATE OR REPLACE TABLE t to replace it" in said
    assert echoing.asked == []


def test_a_store_from_a_newer_version_is_left_alone(invoke: Invoke, query: Query, home: Path) -> None:
    Store(home).close()
    with sqlite3.connect(home / "state.db") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    for words in (["run", query("SELECT 1")], ["models", "list"], ["jobs", "list"], ["answers", "stats"]):
        said = refused(invoke, *words)
        assert "was written by a newer sqlinfer: its schema is version 999" in said
        assert "pip install --upgrade sqlinfer" in said
    assert invoke("answers", "path").stdout == f"{home / 'state.db'}\n"


def test_a_function_file_that_is_broken_is_named(invoke: Invoke, query: Query, tmp_path: Path) -> None:
    (tmp_path / "udfs").mkdir()
    (tmp_path / "udfs" / "broken.py").write_text("def other(): pass\n")
    assert "broken.py: expected a function `def broken(...) -> Request`" in refused(invoke, "run", query("SELECT 1"))


def test_a_folder_is_no_home(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SQLINFER_HOME", str(tmp_path / "file"))
    assert "SQLINFER_HOME" in refused(invoke, "models", "list")


def test_nothing_is_registered_from_an_unknown_choice(invoke: Invoke, echo_folder: Path) -> None:
    register = ["models", "register", "m", str(echo_folder)]
    assert "There is no task 'sumarize'. Did you mean summarize?" in refused(invoke, *register, "--task", "sumarize")
    assert "there is no parameter max_token. Did you mean max_tokens" in refused(
        invoke, *register, "--set", "max_token=1"
    )
    assert "max_tokens must be a whole number" in refused(invoke, *register, "--set", "max_tokens=many")
    assert "There is no job 7." in refused(invoke, "jobs", "show", "7")
