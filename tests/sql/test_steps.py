"""Functions that ask in steps, and functions that ask nothing."""

from __future__ import annotations

import duckdb
import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.functions import load_function
from sqlinfer.sql import Session
from tests.conftest import EchoEngine
from tests.sql.conftest import UDFS

ROWS = "(VALUES ('a b'), ('b c'), ('a b'), (NULL), ('')) v(x)"


def test_steps_are_batched_over_rows_and_each_question_is_asked_once(con: Session, echo: EchoEngine) -> None:
    rows = con.execute(f"SELECT by_words(x) FROM {ROWS}").fetchall()
    assert rows == [("<<a> <b>>",), ("<<b> <c>>",), ("<<a> <b>>",), (None,), (None,)]
    assert sorted(echo.texts) == ["<a> <b>", "<b> <c>", "a", "b", "c"]
    assert echo.batches == [3, 2]


def test_direct_mode_goes_step_by_step_too(direct: duckdb.DuckDBPyConnection, con: Session, registered: None) -> None:
    rows = f"SELECT by_words(x) FROM {ROWS}"
    assert direct.execute(rows).fetchall() == con.execute(rows).fetchall()


def test_more_steps_than_calls_are_all_asked_before_the_statement_runs(con: Session, echo: EchoEngine) -> None:
    rows = con.execute("SELECT by_words(by_words(x)) FROM (VALUES ('a'), ('b')) v(x)").fetchall()
    assert rows == [("<<<<a>>>>",), ("<<<<b>>>>",)]
    assert echo.batches == [2, 2, 2, 2]


def test_a_failed_step_fails_its_row_alone_and_says_which_step(con: Session, echo: EchoEngine) -> None:
    sql = "SELECT by_words(x, on_error := '{}') FROM (VALUES ('a'), ('boom b'), ('odd')) v(x)"
    assert con.execute(sql.format("null")).fetchall() == [("<<a>>",), (None,), (None,)]
    with pytest.raises(SqlinferError, match=r"(?s)by_words.*boom.*on_error := 'null'"):
        con.execute(sql.format("fail"))
    with pytest.raises(SqlinferError, match=r"by_words in step 2 .*ValueError: odd"):
        con.execute("SELECT by_words('odd')")
    assert echo.texts.count("a") == 1


def test_a_computed_function_asks_nothing(con: Session, direct: duckdb.DuckDBPyConnection, echo: EchoEngine) -> None:
    sql = "SELECT l, l.count + 1 FROM (SELECT letters(x, most := 2) AS l FROM (VALUES ('abc'), (NULL), ('d')) v(x))"
    rows = [({"first": "a", "count": 2}, 3), (None, None), ({"first": "d", "count": 1}, 2)]
    assert con.execute(sql).fetchall() == direct.execute(sql).fetchall() == rows
    assert echo.asked == []


def test_the_annotation_says_the_type() -> None:
    assert load_function(UDFS / "by_words.py").returns == "VARCHAR"
    assert load_function(UDFS / "letters.py").returns == "STRUCT(first VARCHAR, count INTEGER)"
