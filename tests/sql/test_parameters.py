"""Parameters of calls: what they may be, and what is said of wrong ones before anything is asked."""

from __future__ import annotations

import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.sql import Session
from tests.conftest import EchoEngine


def test_parameters_may_be_columns(con: Session, echo: EchoEngine) -> None:
    con.execute("CREATE TABLE t AS SELECT * FROM (VALUES ('a', 3, 0.5), ('a', 4, 0.5), ('a', 3, NULL)) v(s, n, temp)")
    con.execute("SELECT ai_gen(s, max_tokens := n, temperature := temp) FROM t").fetchall()
    asked = {(r.parameters.max_tokens, r.parameters.temperature) for r in echo.asked}
    assert asked == {(3, 0.5), (4, 0.5), (3, None)}


def test_stop_is_a_text_or_a_list(con: Session, echo: EchoEngine) -> None:
    con.execute("SELECT ai_gen('a', stop := '.'), ai_gen('a', stop := ['.', ';'])").fetchall()
    assert [r.parameters.stop for r in echo.asked] == [(".",), (".", ";")]


def test_other_parameters_are_other_questions(con: Session, echo: EchoEngine) -> None:
    for seed in (1, 2, 2):
        con.execute("SELECT ai_gen('a', temperature := 1, seed := ?)", [seed]).fetchall()
    assert len(echo.asked) == 2


def test_numbers_and_dates_are_texts(con: Session, echo: EchoEngine) -> None:
    con.execute("SELECT ai_gen(42), ai_gen(DATE '2020-01-02'), ai_gen([1, 2])").fetchall()
    assert set(echo.texts) == {"42", "2020-01-02", "[1, 2]"}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("ai_gen(body, temprature := 1)", ["no parameter temprature", "Did you mean temperature?"]),
        ("ai_gen(body, temperature := 'warm')", ["temperature must be a number", "'warm'"]),
        ("ai_gen(body, max_tokens := 0)", ["max_tokens must be a whole number of at least 1", "0"]),
        ("ai_gen(body, on_error := 'ignore')", ["on_error must be 'fail' or 'null'", "'ignore'"]),
        ("ai_gen(body, stop := 3)", ["stop must be a text or a list of texts", "3"]),
        (
            "summarize(body, overflow := 'cut')",
            ["overflow must be 'truncate' or 'hierarchical' or 'error'", "'cut'"],
        ),
        ("summarize(body, max_words := 'few')", ["max_words must be a whole number", "'few'"]),
        ("ai_gen(body, model := 'eco')", ["'eco'", "Did you mean echo?", "sqlinfer models register"]),
        ("ai_query('echo@best', body)", ["best", "echo"]),
    ],
)
def test_a_wrong_parameter_is_named_before_anything_is_asked(
    call: str, says: list[str], texts: Session, echo: EchoEngine
) -> None:
    with pytest.raises(SqlinferError) as raised:
        texts.execute(f"SELECT {call} FROM texts").fetchall()
    assert all(part in str(raised.value) for part in says), str(raised.value)
    assert echo.asked == []
