"""The extension in a DuckDB: values, errors, order, and what happens when the server goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sqlinfer.serve.address import socket_path
from sqlinfer.serve.launch import running_server
from sqlinfer.serve.server import Server
from tests.conftest import EchoEngine
from tests.open_calls import MANIFOLD, each_way, one_by_one
from tests.serve.conftest import Connect
from tests.slow_echo import PATIENCE_S, start, wait_for_answers

CASES = [
    ("ai_gen('hi')", "<hi>"),
    ("ai_gen(NULL)", None),
    ("ai_gen('hi', max_tokens => 7, stop := ['x'], temperature := 0.5)", "<hi>"),
    ("ai_gen(7)", "<7>"),
    ("ai_gen('tab\t\"quotes\" \\ é 漢 ' || chr(1))", '<tab\t"quotes" \\ é 漢 \x01>'),
    ("ai_complete('echo', 'hi')", "<hi>"),
    ("ai_filter('angry man', 'he is angry')", True),
    ("ai_filter('calm man', 'he is angry')", False),
    ("ai_filter('boom', 'x', on_error := 'null')", None),
    ("ai_classify('a bad day', ['good', 'bad'])", "bad"),
    ("ai_classify('a bad day', {'good': 'fine', 'bad': 'not fine'})", "bad"),
    ("ai_classify('a bad day', MAP {'good': 'fine', 'bad': 'not fine'})", "bad"),
    ("typeof(ai_classify('a bad day', ['good', 'bad'], multilabel := true))", "VARCHAR"),
    ("typeof(ai_score('a', 'b'))", "DOUBLE"),
    ("ai_count_tokens('a b c')", 3),
    ("rouge('a b', 'a c').rouge1", 0.5),
    ("letters('abc')", {"first": "a", "count": 3}),
    ("\"summarize\"('text')", "<text>"),
    ("x.summarize()", "<text>"),
    ("main.summarize('text')", "<text>"),
    ("ai_summarize('text')", "<text>"),
    ("AI_Gen('hi')", "<hi>"),
]


@pytest.mark.parametrize(("sql", "value"), CASES, ids=[sql for sql, _ in CASES])
def test_functions_have_their_values_and_types(loaded: Connect, sql: str, value: Any) -> None:
    assert loaded().execute(f"SELECT {sql} FROM (SELECT 'text' AS x)").fetchone() == (value,)


def test_rows_keep_their_order_and_equal_ones_are_asked_once(loaded: Connect, echo: EchoEngine) -> None:
    con = loaded()
    con.execute("SET threads = 8")
    con.execute("PRAGMA verify_parallelism")
    con.execute(
        "CREATE TABLE t AS SELECT i, CASE WHEN i % 7 > 0 THEN 'text ' || i % 5000 END AS x FROM range(20000) r(i)"
    )
    con.execute("CREATE TABLE made AS SELECT *, ai_gen(x, max_tokens := 8 + i % 2) AS y FROM t")
    assert con.execute("SELECT count(*) FROM made WHERE y IS DISTINCT FROM '<' || x || '>'").fetchone() == (0,)
    assert con.execute("SELECT count(*) FROM made WHERE rowid <> i").fetchone() == (0,)
    assert con.execute("SELECT count(*) FROM made WHERE y IS NULL").fetchone() == (2858,)
    assert len(echo.asked) == con.execute("SELECT count(DISTINCT (x, i % 2)) FROM t WHERE x IS NOT NULL").fetchone()[0]


def test_aggregates_take_the_texts_of_a_group(loaded: Connect) -> None:
    con = loaded()
    con.execute("CREATE TABLE t AS SELECT * FROM (VALUES (1, 'b'), (1, 'a'), (2, NULL)) v(g, x)")
    rows = con.execute("SELECT g, ai_agg(x, 'join') FROM t GROUP BY g ORDER BY g").fetchall()
    assert rows[1] == (2, None)
    assert "a" in rows[0][1]
    assert "b" in rows[0][1]


def test_the_tables_of_the_store_are_there(loaded: Connect) -> None:
    con = loaded()
    con.execute("SELECT ai_gen('hi')")
    assert con.execute("SELECT name, version FROM sqlinfer_models() WHERE name = 'echo'").fetchall() == [("echo", 1)]
    assert "requests" in [column[0] for column in con.execute("SELECT * FROM sqlinfer_usage()").description]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("ai_gen('boom')", "the model gave no answer"),
        ("ai_gen('x', temprature := 1)", "temperature"),
        ("ai_gen('x', temperature := -1)", "temperature must be a number from 0 to 100, not -1"),
        ("ai_gen('x', model := 'ecko')", "No model 'ecko'"),
    ],
)
def test_errors_are_errors_of_sql_and_the_next_statement_runs(loaded: Connect, sql: str, said: str) -> None:
    con = loaded()
    with pytest.raises(duckdb.Error, match=said):
        con.execute(f"SELECT {sql}")
    assert con.execute("SELECT ai_gen('fine')").fetchone() == ("<fine>",)


def test_a_constant_call_that_fails_is_asked_once(
    loaded: Connect, echo: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlinfer.serve.service.REMEMBERED_S", 1000.0)
    with pytest.raises(duckdb.Error, match="the model gave no answer"):
        loaded().execute("SELECT ai_gen('boom')")
    assert echo.texts == ["boom"]


def test_a_model_of_the_wrong_kind_is_refused_once_or_costs_the_rows_that_name_it(
    loaded: Connect, echo: EchoEngine
) -> None:
    con = loaded()
    said = "ai_embed: model echo/1 writes text, and this needs one that embeds texts"
    for call in ("ai_embed(x)", "ai_embed(x, model := 'echo')", "ai_embed(x, on_error := 'null')"):
        with pytest.raises(duckdb.Error, match=said):
            con.execute(f"SELECT {call} FROM (SELECT 'text ' || i AS x FROM range(5000) r(i))").fetchall()
    assert echo.asked == []
    con.execute("SELECT ai_embed(x, model := m, on_error := 'null') FROM (VALUES ('a', 'echo')) t(x, m)")
    assert echo.texts == ["a"]


@pytest.mark.parametrize("name", MANIFOLD)
def test_a_parameter_may_stand_for_any_argument(loaded: Connect, name: str) -> None:
    con = loaded()
    found = each_way(con, one_by_one(con, name))
    assert found == dict.fromkeys(found, found["literal"])
    assert con.execute("SELECT ai_gen('still here')").fetchone() == ("<still here>",)


def test_messages_show_no_names_of_ours(loaded: Connect) -> None:
    with pytest.raises(duckdb.Error, match="ai_classify") as raised:
        loaded().execute("SELECT ai_classify('x')")
    assert "__sqlinfer" not in str(raised.value)


def test_a_bad_row_does_not_cost_the_good_ones(loaded: Connect, echo: EchoEngine) -> None:
    con = loaded()
    con.execute("CREATE TABLE t AS SELECT CASE i WHEN 7 THEN 'boom' ELSE 'text ' || i END AS x FROM range(100) r(i)")
    with pytest.raises(duckdb.Error, match="1 request failed; all other answers are kept"):
        con.execute("SELECT ai_gen(x) FROM t").fetchall()
    asked = len(echo.asked)
    rows = con.execute("SELECT ai_gen(x, on_error := 'null') FROM t").fetchall()
    assert sum(row[0] is None for row in rows) == 1
    assert set(echo.texts[asked:]) == {"boom"}


def test_without_a_server_the_error_says_how_to_start_one(loaded: Connect, server: Server) -> None:
    con = loaded()
    server.stop.set()
    while socket_path().exists():
        time.sleep(0.05)
    with pytest.raises(duckdb.Error, match=r"no sqlinfer server answers at .*Start one: sqlinfer serve"):
        con.execute("SELECT ai_gen('x')")


def test_a_server_that_is_killed_in_mid_query_is_an_error_and_a_rerun_goes_on(
    extension: Path, registered: None, home: Path
) -> None:
    """The server is a process of its own, so that it can be killed."""
    sql = "SELECT count(ai_gen('text ' || i)) FROM range(200) r(i)"
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.execute(f"LOAD '{extension}'")
    with served(home, answer_s=0.5) as process:
        con.execute((home / "functions.sql").read_text())
        killing = threading.Thread(target=kill_when_it_answers, args=(process.pid, home))
        killing.start()
        with pytest.raises(duckdb.Error, match=r"went away in mid-query; every finished answer is kept"):
            con.execute(sql)
        killing.join()
    with served(home) as process:
        assert con.execute(sql).fetchone() == (200,)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        num_asked = int(process.communicate()[1].split()[-1])
    assert 0 < num_asked < 200
    con.close()


def kill_when_it_answers(pid: int, home: Path) -> None:
    wait_for_answers(home)
    os.kill(pid, signal.SIGKILL)


def served(home: Path, answer_s: float = 0.02) -> subprocess.Popen[str]:
    """A process that serves a slow echo engine; it has begun to listen."""
    process = start("serve", "--model", "echo", answer_s=answer_s)
    until_s = time.monotonic() + PATIENCE_S
    while not (home / "functions.sql").exists() or not socket_path().exists() or running_server() is None:
        assert process.poll() is None
        assert time.monotonic() < until_s
        time.sleep(0.05)
    return process
