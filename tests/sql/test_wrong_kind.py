"""A model of the wrong kind is refused once if a call always asks it, and costs its rows if a column names it; calls
that lack an argument are told so."""

from __future__ import annotations

import duckdb
import pytest

import sqlinfer
from sqlinfer.errors import ModelUnusable
from sqlinfer.sql import Session
from tests.conftest import EchoEngine

TABLE = "CREATE TABLE t AS SELECT 'text ' || i AS x FROM range(5000) r(i)"
WRITES = "ai_embed: model echo/1 writes text, and this needs one that embeds texts. Models that do: sqlinfer/tiny-embed"
EMBEDS = "ai_gen: model sqlinfer/tiny-embed embeds texts for ai_embed and ai_similarity, and this needs one that writes"


@pytest.mark.parametrize(
    ("sql", "values", "said"),
    [
        ("SELECT ai_embed(x) FROM t", None, WRITES),
        ("SELECT ai_embed(x, model := 'ec' || 'ho') FROM t", None, WRITES),
        ("SELECT ai_gen(x, model := 'sqlinfer/tiny-embed') FROM t", None, EMBEDS),
        ("SELECT ai_gen(x, model := ?, on_error := 'null') FROM t", ["sqlinfer/tiny-embed"], EMBEDS),
        ("FROM seen", None, EMBEDS),
        ("SELECT ai_query('sqlinfer/tiny-embed', x, failOnError := false) FROM t", None, "sqlinfer/tiny-embed embeds"),
        ("SELECT ai_predict('echo', x) FROM t", None, "classifies texts. None of the registered ones does: sqlinfer"),
        ("SELECT ai_similarity(x, 'a') FROM t", None, "ai_similarity: model echo/1 writes text"),
    ],
)
def test_a_constant_model_of_the_wrong_kind_is_refused_before_anything_is_asked(
    sql: str, values: list[str] | None, said: str, con: Session, direct: duckdb.DuckDBPyConnection, echo: EchoEngine
) -> None:
    view = "CREATE TEMP VIEW seen AS SELECT ai_gen(x, model := 'sqlinfer/tiny-embed') FROM t"
    for connection, error in ((con, ModelUnusable), (direct, duckdb.Error)):
        connection.execute(TABLE)
        connection.execute(view)
        with pytest.raises(error) as raised:
            connection.execute(sql, values).fetchall()
        assert said in str(raised.value)
    assert echo.asked == [] and con.evaluator.statement.failures == {}


def test_a_model_that_a_column_names_costs_its_rows(home: object) -> None:
    rows = "(VALUES ('a', 'sqlinfer/tiny'), ('b', 'sqlinfer/tiny-embed')) AS t(x, m)"
    sql = f"SELECT ai_gen(x, model := m, max_tokens := 1, on_error := 'null') IS NULL FROM {rows} ORDER BY x"
    with sqlinfer.connect() as session, duckdb.connect() as plain, sqlinfer.register(plain):
        for connection in (session, plain):
            assert connection.execute(sql).fetchall() == [(False,), (True,)]
    named = f"SELECT ai_gen(x, model := m, max_tokens := 1) FROM {rows}"
    with sqlinfer.connect() as session, pytest.raises(sqlinfer.SqlinferError, match="1 request failed"):
        session.execute(named)


def test_known_answers_need_no_look_at_the_model(con: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    con.execute("SELECT ai_gen('a')")
    monkeypatch.setattr("sqlinfer.inference.runtime.backend_of", lambda _: pytest.fail("it was asked before"))
    assert con.execute("SELECT ai_gen('a')").fetchall() == [("<a>",)]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("ai_gen()", "ai_gen needs prompt. Its signature: ai_gen(prompt)"),
        ("ai_classify(x)", "ai_classify needs labels. Its signature: ai_classify(text, labels, "),
        ("ai_classify(labels := ['a'])", "ai_classify needs text."),
        ("ai_classify(multilabel := true)", "ai_classify needs text and labels."),
        ("ai_agg(x)", "ai_agg needs instruction."),
        ("ai_agg_list([x])", "ai_agg needs instruction."),
    ],
)
def test_a_missing_argument_is_named(
    call: str, said: str, con: Session, direct: duckdb.DuckDBPyConnection, echo: EchoEngine
) -> None:
    for connection, error in ((con, sqlinfer.SqlinferError), (direct, duckdb.Error)):
        connection.execute(TABLE)
        with pytest.raises(error) as raised:
            connection.execute(f"SELECT {call} FROM t").fetchall()
        assert said in str(raised.value)
    assert echo.asked == []


def test_no_message_shows_what_is_ours_alone(con: Session, direct: duckdb.DuckDBPyConnection) -> None:
    for connection in (con, direct):
        relation = connection.sql("SELECT 'a' AS x")
        with pytest.raises(duckdb.Error, match="ai_classify") as raised:
            relation.project("ai_classify(x, no_such := 1)").fetchall()
        assert "__sqlinfer" not in str(raised.value)


def test_arguments_stand_by_place_or_by_name(direct: duckdb.DuckDBPyConnection) -> None:
    direct.execute("PREPARE asked AS SELECT ai_gen(?)")
    assert direct.execute("EXECUTE asked('a')").fetchall() == [("<a>",)]
    found = direct.execute(
        "SELECT ai_gen(x), ai_gen(prompt := x), x.ai_gen(), ai_gen(NULL) FROM (SELECT 'b' AS x)"
    ).fetchall()
    assert found == [("<b>", "<b>", "<b>", None)]
