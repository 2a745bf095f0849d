"""The store as tables in SQL, read when they are queried; what a job records of itself."""

from __future__ import annotations

import duckdb

import sqlinfer
from sqlinfer.sql import Session
from tests.conftest import EchoEngine

ROWS = "SELECT ai_gen(x, on_error := 'null') FROM (VALUES ('a'), ('boom'), ('ab')) r(x)"


def test_a_table_shows_what_was_written_since_it_was_queried_last(con: Session) -> None:
    assert con.execute("SELECT count(*) FROM sqlinfer_jobs()").fetchall() == [(0,)]
    con.execute(ROWS)
    assert con.execute("SELECT job, state, rows, generated, failed FROM sqlinfer_jobs()").fetchall() == [
        (1, "done", 3, 2, 1)
    ]
    assert con.execute("SELECT job, function, model, text, error FROM sqlinfer_errors()").fetchall() == [
        (1, "ai_gen", "echo/1", "boom", "the model gave no answer")
    ]
    assert con.execute("FROM sqlinfer_usage()").fetchall() == [(1, "ai_gen", "echo/1", 3, 1, 3, 2, 0.0)]
    assert ("echo", 1) in con.execute("SELECT name, version FROM sqlinfer_models()").fetchall()


def test_a_job_sees_itself_running(con: Session) -> None:

    with con.job("this one"):
        assert con.execute("SELECT statement, state FROM sqlinfer_jobs()").fetchall() == [("this one", "running")]


def test_a_job_names_the_models_of_all_its_statements(con: Session) -> None:
    with con.job("two models"):
        con.execute("SELECT ai_gen('a')")
        con.execute("SELECT ai_gen('a', model := 'sqlinfer/tiny')")
    assert con.execute("SELECT models FROM sqlinfer_jobs()").fetchall() == [(["echo/1", "sqlinfer/tiny"],)]


def test_live_tables_join_group_and_ask(con: Session, echo: EchoEngine) -> None:
    con.execute(ROWS)
    joined = con.execute(
        "SELECT j.job, sum(u.requests) FROM sqlinfer_jobs() j JOIN sqlinfer_usage() u USING (job) GROUP BY ALL"
    ).fetchall()
    assert joined == [(1, 3)]
    assert con.execute("SELECT ai_gen('why ' || error) FROM sqlinfer_errors()").fetchall() == [
        ("<why the model gave no answer>",)
    ]


def test_live_tables_are_on_plain_connections_and_on_cursors_too(
    con: Session, direct: duckdb.DuckDBPyConnection
) -> None:
    assert con.cursor().execute("SELECT count(*) FROM sqlinfer_jobs()").fetchall() == [(0,)]
    assert direct.execute("SELECT count(*) FROM sqlinfer_models() WHERE name = 'echo'").fetchall() == [(1,)]


def test_live_tables_go_with_the_functions() -> None:
    connection = duckdb.connect()
    with sqlinfer.register(connection):
        connection.execute("FROM sqlinfer_models()").fetchall()
    names = "SELECT function_name FROM duckdb_functions() WHERE function_name LIKE '%sqlinfer%'"
    assert connection.execute(names).fetchall() == []
    connection.close()


def test_a_job_records_its_phases_and_its_memory(con: Session) -> None:
    con.execute(ROWS)
    (job,) = con.runtime.store.jobs.list()
    assert set(job.phases) == {"probe", "infer", "replay"}
    assert all(seconds >= 0 for seconds in job.phases.values())
    assert 0 < sum(job.phases.values()) <= job.seconds + 0.01
    assert job.expected == 3
    assert job.peak_memory_bytes > 10_000_000
