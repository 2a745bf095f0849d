"""What goes wrong in a statement: whose error it is, what it says, and what is kept."""

from __future__ import annotations

import pickle
from pathlib import Path

import duckdb
import pytest

import sqlinfer
from sqlinfer.errors import Interrupted, RequestsFailed, SqlinferError
from sqlinfer.sql import Session
from sqlinfer.types import CountTokens
from tests.conftest import EchoEngine


def test_duckdbs_own_errors_stay_its_own(texts: Session, echo: EchoEngine) -> None:
    with pytest.raises(duckdb.ParserException, match='syntax error at or near "SELEC"'):
        texts.execute("SELEC ai_gen(body) FROM texts")
    with pytest.raises(duckdb.BinderException) as raised:
        texts.execute("SELECT ai_gen(bodi) FROM texts")
    lines = str(raised.value).split("\n")
    assert lines[-2] == "LINE 1: SELECT ai_gen(bodi) FROM texts"
    assert lines[-1].index("^") == lines[-2].index("bodi")
    with pytest.raises(duckdb.IOException, match="missing"):
        texts.execute("SELECT ai_gen(body) FROM 'missing.csv'")
    assert echo.asked == []


def test_a_table_that_exists_is_refused_before_anything_is_asked(texts: Session, echo: EchoEngine) -> None:
    with pytest.raises(SqlinferError, match="CREATE OR REPLACE TABLE texts"):
        texts.execute("CREATE TABLE texts AS SELECT ai_gen('a') AS g")
    texts.execute("CREATE TABLE IF NOT EXISTS texts AS SELECT 1 AS g, ai_count_tokens('a b') AS n")
    assert all(isinstance(request, CountTokens) for request in echo.asked)


def test_a_failed_row_fails_the_statement_after_all_others_are_kept(texts: Session, echo: EchoEngine) -> None:
    texts.execute("INSERT INTO texts VALUES (9, 'boom'), (10, 'last')")
    with pytest.raises(RequestsFailed, match=r"(?s)1 request failed.*'boom'.*on_error := 'null'"):
        texts.execute("CREATE TABLE out AS SELECT ai_gen(body) AS g FROM texts")
    assert len(echo.asked) == 5
    assert texts.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'out'").fetchone() == (0,)
    assert texts.execute("SELECT ai_gen(body) FROM texts WHERE i = 10").fetchall() == [("<last>",)]
    assert len(echo.asked) == 5


def test_our_errors_are_duckdbs_too(texts: Session, tmp_path: Path) -> None:
    for sql, error_type in (
        ("SELECT ai_gen('boom')", RequestsFailed),
        ("SELECT ai_gen('a', model := 'nobody')", SqlinferError),
        ("SELECT ai_filter('a', ' ')", SqlinferError),
        ("CREATE MODEL m FROM './nowhere'", SqlinferError),
    ):
        for run in (texts.execute, lambda sql: texts.sql(sql).fetchall()):
            with pytest.raises(duckdb.Error) as raised:
                run(sql)
            assert isinstance(raised.value, error_type)
            copied = pickle.loads(pickle.dumps(raised.value))
            assert (type(copied).__name__, str(copied)) == (type(raised.value).__name__, str(raised.value))


def test_a_failed_row_is_NULL_with_a_recorded_error_if_so_wanted(texts: Session, echo: EchoEngine) -> None:
    texts.execute("INSERT INTO texts VALUES (9, 'boom')")
    rows = texts.execute("SELECT ai_gen(body, on_error := 'null') FROM texts WHERE i > 4 ORDER BY i").fetchall()
    assert rows == [("<text 2>",), (None,)]
    errors = texts.runtime.store.jobs.errors(texts.evaluator.runner.last_job_id or 0)
    assert [(error.excerpt, error.function) for error in errors] == [("boom", "ai_gen")]


def test_a_filter_that_failed_lets_no_row_through(texts: Session) -> None:
    texts.execute("INSERT INTO texts VALUES (9, 'angry boom'), (10, 'angry')")
    for condition, ids in (("is_angry", [10]), ("NOT is_angry", [0, 1, 2, 3, 4, 5])):
        sql = f"SELECT i FROM texts WHERE {condition}(body, on_error := 'null') ORDER BY i"
        assert [i for (i,) in texts.execute(sql).fetchall()] == ids


def test_interrupt_keeps_answers_and_the_next_run_goes_on(texts: Session) -> None:
    texts.execute("CREATE TABLE many AS SELECT 'q' || i AS q FROM range(100) r(i)")
    engine = EchoEngine(lambda request: (texts.interrupt() if request.text == "q40" else None, request.text)[1])
    texts.runtime.open_engine = lambda version: engine
    with pytest.raises(Interrupted, match="every finished answer is kept"):
        texts.execute("SELECT ai_gen(q) FROM many")
    before = len(engine.asked)
    assert 0 < before < 100
    texts.execute("SELECT ai_gen(q) FROM many").fetchall()
    assert len(engine.asked) == 100
    states = [job.state for job in texts.runtime.store.jobs.list(2)]
    assert states == ["done", "interrupted"]


def test_an_error_in_the_users_own_function_names_its_file(registered: None, echo: EchoEngine, tmp_path: Path) -> None:
    header = "from sqlinfer import Request\n\n\n"
    (tmp_path / "broken.py").write_text(
        header + 'def broken(text: str) -> Request:\n    """Break."""\n    return text.nope()\n'
    )
    (tmp_path / "number.py").write_text(
        header + 'def number(text: str) -> Request:\n    """Read a number."""\n    return Request(text)\n\n\n'
        "def read(answer: str) -> int:\n    return int(answer.strip('<>'))\n"
    )
    with sqlinfer.connect(model="echo", udfs=[tmp_path]) as session:
        session.runtime.open_engine = lambda version: echo
        with pytest.raises(SqlinferError, match=r"broken\.py: broken failed on .*'a'.*nope"):
            session.execute("SELECT broken('a')")
        session.execute("CREATE TABLE t AS SELECT unnest(['7', 'seven']) AS x")
        with pytest.raises(RequestsFailed, match=r"number\.py cannot use the answer '<seven>'"):
            session.execute("SELECT number(x) FROM t").fetchall()
        rows = session.execute("SELECT number(x, on_error := 'null') FROM t ORDER BY x").fetchall()
        assert rows == [(7,), (None,)]
