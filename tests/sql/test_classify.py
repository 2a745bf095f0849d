"""ai_classify, ai_filter, ai_score and ai_sentiment: an answer is one of the labels, and bad labels ask nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.sql import Session
from sqlinfer.types import Choose
from tests.conftest import EchoEngine

ODD = ("New", "New York", 'it\'s "mixed"', "line\nbreak", "\N{PARTY POPPER}", "a, b")


def chances(weigh: Callable[[Choose, str], float]) -> EchoEngine:
    """A model that gives choices the weights of a function."""

    def answer(request: Choose) -> str:
        weights = {choice: weigh(request, choice) for choice in request.choices}
        return json.dumps({choice: weight / sum(weights.values()) for choice, weight in weights.items()})

    return EchoEngine(answer)


def one(con: Session, sql: str, parameters: object = None) -> object:
    (row,) = con.execute(sql, parameters).fetchall()
    return row[0]


@pytest.mark.parametrize("label", ODD)
def test_any_label_comes_back_as_it_is_written(label: str, con: Session) -> None:
    engine = chances(lambda _, choice: 5 if choice == label else 1)
    con.runtime.open_engine = lambda _: engine
    assert one(con, "SELECT ai_classify('some text', ?)", [list(ODD)]) == label
    assert engine.asked[0].choices == ODD


def test_labels_may_be_a_map_a_struct_or_a_column_and_descriptions_are_shown(con: Session, echo: EchoEngine) -> None:
    shown = "labels: good (praise), bad (blame)."
    assert one(con, "SELECT ai_classify('so bad', MAP {'good': 'praise', 'bad': 'blame'})") == "bad"
    assert one(con, "SELECT ai_classify('very bad', {'good': 'praise', 'bad': 'blame'})") == "bad"
    assert all(shown in request.instruction for request in echo.asked)
    rows = con.execute("SELECT ai_classify(t, l) FROM (VALUES ('a', ['a', 'b']), ('d', ['c', 'd'])) v(t, l)").fetchall()
    assert sorted(rows) == [("a",), ("d",)]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("[]::VARCHAR[]", "empty list"),
        ("['a', 'b', 'a']", "'a' is given twice"),
        ("['a', ' a ']", "' a ' is given twice"),
        ("['a', NULL]", "not None"),
        ("['a', ' ']", "not ' '"),
        ("'a, b'", r"as in \['good', 'bad'\], not 'a, b'"),
        ("[1, 2]", "not 1"),
    ],
)
def test_bad_labels_are_named_and_nothing_is_asked(labels: str, words: str, con: Session, echo: EchoEngine) -> None:
    with pytest.raises(SqlinferError, match=words):
        con.execute(f"SELECT ai_gen('x'), ai_classify('text', {labels})").fetchall()
    assert echo.asked == []


def test_null_text_and_null_labels_ask_nothing(con: Session, echo: EchoEngine) -> None:
    sql = "SELECT ai_classify(NULL, ['a']), ai_classify('x', NULL), ai_filter(NULL, 'c'), ai_score('x', NULL)"
    assert con.execute(sql).fetchall() == [(None,) * 4]
    assert echo.asked == []


def test_a_thousand_labels_are_one_question(con: Session, echo: EchoEngine) -> None:
    sql = "SELECT ai_classify('x', list_transform(range(1000), lambda i: 'label ' || i)) FROM range(3)"
    assert {row[0] for row in con.execute(sql).fetchall()} == {"label 0"}
    assert [len(request.choices) for request in echo.asked] == [1000]


def test_confidence_is_the_labels_probability(con: Session) -> None:
    engine = chances(lambda _, choice: {"a": 1, "b": 3}[choice])
    con.runtime.open_engine = lambda _: engine
    sql = "SELECT ai_classify('x', ['a', 'b'], return_confidence := true)"
    value = one(con, f"SELECT ({sql})")
    assert value == {"label": "b", "confidence": pytest.approx(0.75)}


def test_each_of_several_labels_is_a_yes_or_no_of_its_own(con: Session) -> None:
    fits = {"a: yes": 0.9, "a: no": 0.1, "b: yes": 0.002, "b: no": 0.008, "c: yes": 3.0, "c: no": 1.0}
    engine = chances(lambda _, choice: fits[choice])
    con.runtime.open_engine = lambda _: engine

    def chosen(more: str = "") -> object:
        return one(con, f"SELECT ai_classify('x', ['a', 'b', 'c'], multilabel := true{more})")

    assert chosen() == ["a", "c"]
    assert chosen(", threshold := 0.8") == ["a"]
    assert chosen(", threshold := 0.1") == ["a", "b", "c"]
    assert chosen(", threshold := 0.95") == []
    assert len(engine.asked) == 1  # other thresholds ask nothing anew


def test_calibration_takes_a_models_liking_for_a_label_away(con: Session) -> None:
    liking = {"a": 0.9, "b": 0.1}
    engine = chances(lambda request, choice: liking[choice] * (2 if choice in request.text else 1))
    con.runtime.open_engine = lambda _: engine
    texts = "FROM (VALUES ('b'), ('bb'), ('a')) v(t)"
    assert one(con, f"SELECT list(ai_classify(t, ['a', 'b']) ORDER BY t) {texts}") == ["a", "a", "a"]
    asked = len(engine.asked)
    assert one(con, f"SELECT list(ai_classify(t, ['a', 'b'], calibrate := true) ORDER BY t) {texts}") == ["a", "b", "b"]
    assert len(engine.asked) == asked + 1  # the text without content, once for all rows


@pytest.mark.parametrize(
    ("call", "liked", "plain", "calibrated"),
    [
        ("ai_sentiment(t)", "positive", ["positive", "positive"], ["negative", "positive"]),
        ("ai_filter(t, 'c')", "yes", [True, True], [False, True]),
        ("ai_score(t, 'c') > 0.5", "yes", [True, True], [False, True]),
    ],
)
def test_what_is_scored_can_be_calibrated(
    con: Session, call: str, liked: str, plain: list[Any], calibrated: list[Any]
) -> None:
    other = {"positive": "negative", "yes": "no"}[liked]
    liking = {liked: 0.8, other: 0.15}
    con.runtime.open_engine = lambda _: chances(
        lambda request, choice: liking.get(choice, 0.01) * (3 if f"<{choice}>" in request.text else 1)
    )
    rows = f"FROM (VALUES ('1 <{other}>'), ('2 <{liked}>')) v(t)"
    assert one(con, f"SELECT list({call} ORDER BY t) {rows}") == plain
    assert one(con, f"SELECT list({call.replace(')', ', calibrate := true)')} ORDER BY t) {rows}") == calibrated


def test_answers_that_are_nearly_all_one_label_are_pointed_out(con: Session, caplog: pytest.LogCaptureFixture) -> None:
    engine = chances(lambda request, choice: 0.9 if (choice == "positive") != ("odd" in request.text) else 0.1)
    con.runtime.open_engine = lambda _: engine
    con.execute("SELECT ai_sentiment('few ' || i) FROM range(19) r(i)").fetchall()
    con.execute("SELECT ai_sentiment(if(i % 2 = 0, 'odd', 'even') || i) FROM range(40) r(i)").fetchall()
    assert "answers are" not in caplog.text
    con.execute("SELECT ai_sentiment(if(i = 0, 'odd', 'even') || i || '.') FROM range(30) r(i)").fetchall()
    assert "ai_sentiment with echo/1: 29 of 30 answers are 'positive'. If that is not right" in caplog.text


def test_filter_and_score_are_two_readings_of_one_probability(con: Session) -> None:
    engine = chances(lambda request, choice: float(request.text) if choice == "yes" else 1 - float(request.text))
    con.runtime.open_engine = lambda _: engine
    rows = "FROM (VALUES ('0.2'), ('0.5'), ('0.9')) v(t)"
    assert con.execute(f"SELECT t {rows} WHERE ai_if(t, 'c') ORDER BY t").fetchall() == [("0.5",), ("0.9",)]
    scores = con.execute(f"SELECT ai_score(t, 'c') AS s {rows} ORDER BY s").fetchall()
    assert [score for (score,) in scores] == pytest.approx([0.2, 0.5, 0.9])


def test_a_filter_that_failed_is_no_row_and_no_truth(con: Session) -> None:
    rows = "FROM (VALUES ('angry boom'), ('angry'), ('calm')) v(t)"
    said = "ai_filter(t, 'angry', on_error := 'null')"
    assert con.execute(f"SELECT t {rows} WHERE {said}").fetchall() == [("angry",)]
    assert con.execute(f"SELECT t {rows} WHERE NOT {said}").fetchall() == [("calm",)]
    with pytest.raises(SqlinferError, match="on_error := 'null'"):
        con.execute(f"SELECT t {rows} WHERE ai_filter(t, 'angry')").fetchall()


def test_filters_are_asked_before_all_else(con: Session, echo: EchoEngine) -> None:
    rows = "FROM (VALUES ('angry'), ('calm')) v(t)"
    con.execute(f"SELECT ai_classify(t || '!', ['a', 'b']) {rows} WHERE ai_filter(t, 'angry')").fetchall()
    assert echo.texts in (["angry", "calm", "angry!"], ["calm", "angry", "angry!"])


def test_sentiment_is_one_of_four(con: Session, direct: duckdb.DuckDBPyConnection) -> None:
    for connection in (con, direct):
        sql = "SELECT ai_sentiment('it was mixed'), ai_analyze_sentiment('positive!'), ai_sentiment(NULL)"
        assert connection.execute(sql).fetchall() == [("mixed", "positive", None)]


def test_plain_connections_classify_too(direct: duckdb.DuckDBPyConnection) -> None:
    sql = (
        "SELECT ai_classify(t, ['good', 'bad'], return_confidence := true)::JSON ->> 'label' FROM (VALUES ('bad')) v(t)"
    )
    assert direct.execute(sql).fetchall() == [("bad",)]


def test_labels_that_are_a_list_of_distinct_values_are_one_list(con: Session, echo: EchoEngine) -> None:
    con.execute("SET threads = 4; CREATE TABLE labels AS SELECT 'label ' || (i % 40) AS l FROM range(9000) r(i)")
    for _ in range(4):
        con.execute("SELECT ai_classify('t' || i, (SELECT list(DISTINCT l) FROM labels)) FROM range(3) r(i)").fetchall()
    assert len(echo.asked) == 3


def test_arguments_are_the_same_with_lossless_arrow_types(con: Session) -> None:
    calls = "ai_classify(t, ['a', 'b'], multilabel := true), ai_classify(t, ['a', 'b'], multilabel := t <> 'z')"
    query = f"SELECT {calls} FROM (VALUES ('a'), ('b'), ('z')) v(t)"
    before = con.execute(query).fetchall()
    con.execute("SET arrow_lossless_conversion = true")
    assert con.execute(query).fetchall() == before
