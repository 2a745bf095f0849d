"""What one row says wrongly is that row's error; what a statement says wrongly is refused before anything is asked."""

from __future__ import annotations

import duckdb
import pytest

from sqlinfer.errors import ModelNotFound, RequestsFailed, SqlinferError
from sqlinfer.sql import Session
from tests.conftest import EchoEngine

COLUMNS = [
    (
        "ai_classify(t, c",
        "(VALUES ('so bad', ['good', 'bad']), ('x', []), ('y', ['a', 'a']), ('z', ['a', NULL]))",
        "bad",
    ),
    ("ai_filter(t, c", "(VALUES ('angry', 'is angry'), ('x', ' '))", True),
    ("ai_score(t, c", "(VALUES ('angry', 'is angry'), ('x', ''))", 6 / 7),
    ("ai_mask(t, c", "(VALUES ('a', ['name']), ('x', []::VARCHAR[]), ('y', [' ']))", "<a>"),
    ("ai_gen(t, max_tokens := c", "(VALUES ('a', 3), ('x', -3))", "<a>"),
    ("summarize(t, overflow := c", "(VALUES ('a', 'error'), ('x', 'cut'))", "<a>"),
    ("summarize(t, max_words := c", "(VALUES ('a', 5), ('x', 0))", "<a>"),
    ("ai_translate(t, c", "(VALUES ('a', 'German'), ('x', ''))", "<a>"),
    ("ai_classify(t, ['a', 'b'], threshold := c", "(VALUES ('b', 0.5), ('x', 1.5))", "b"),
    ("ai_query('echo', t, returnType := c", "(VALUES ('a', 'VARCHAR'), ('x', 'NONSENSE'))", "<a>"),
]


@pytest.mark.parametrize(("call", "rows", "first"), COLUMNS, ids=[call for call, *_ in COLUMNS])
def test_a_bad_row_costs_itself_alone(
    call: str, rows: str, first: object, con: Session, direct: duckdb.DuckDBPyConnection, echo: EchoEngine
) -> None:
    query = f"SELECT t, {call}, on_error := 'null') FROM {rows} v(t, c)"
    for connection in (con, direct):
        (good, *bad) = connection.execute(query.replace("summarize(", "ai_summarize(")).fetchall()
        assert good[1] == (pytest.approx(first) if isinstance(first, float) else first)
        assert bad and all(value is None for _, value in bad)
    assert len(echo.asked) == 1
    with pytest.raises(RequestsFailed, match=" on 'x': ") as raised:
        con.execute(query.replace(", on_error := 'null'", "")).fetchall()
    assert f"{len(bad)} request" in str(raised.value)
    assert con.execute(
        query.replace(", on_error := 'null')", ")").replace(call, f"TRY({call}").replace(" FROM", ") FROM", 1)
    ).fetchall() == [good, *bad]


def test_bad_rows_are_listed_with_the_jobs_errors(con: Session) -> None:
    con.execute("SELECT ai_classify(t, c, on_error := 'null') FROM (VALUES ('a', ['a']), ('x', [])) v(t, c)").fetchall()
    (error,) = con.runtime.store.jobs.errors(con.evaluator.runner.last_job_id)
    assert (error.function, error.model, error.excerpt) == ("ai_classify", "", "x")


def test_a_type_that_is_none_is_data_where_errors_are(con: Session) -> None:
    sql = "SELECT ai_query('echo', t, returnType := c, failOnError := false) FROM (VALUES ('x', 'NONSENSE')) v(t, c)"
    assert "is no SQL type" in con.execute(sql).fetchall()[0][0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("ai_classify(t, ['a', 'a'])", "ai_classify: the label 'a' is given twice"),
        ("ai_classify(labels := [], text := t)", "ai_classify: labels is an empty list"),
        ("t.ai_classify(MAP {'a': 'x', ' a': 'y'})", "ai_classify: the label ' a' is given twice"),
        ("ai_filter(t, ' ')", "ai_filter: condition is blank"),
        ("ai_if(t, '')", "ai_filter: condition is blank"),
        ("ai_score(t, '')", "ai_score: criterion is blank"),
        ("ai_mask(t, []::VARCHAR[])", "ai_mask: labels must name"),
        ("ai_classify(t, ['a'], threshold := 7)", "ai_classify: threshold must be a number from 0 to 1, not 7.0"),
        ("ai_translate(t, ' ')", "ai_translate: to is blank"),
        ("ai_agg(t, '')", "ai_agg: instruction is blank"),
        ("ai_summarize_agg(t, max_words := 0)", "max_words must be a whole number of at least 1, not 0"),
        ("summarize(t, max_words := -5)", "summarize: max_words must be a whole number of at least 1, not -5"),
        ("ai_gen(t, max_tokens := -1)", "ai_gen: max_tokens must be a whole number of at least 1, not -1"),
        ("ai_gen(t, stop := [''])", "ai_gen: stop must be a text or a list of texts"),
        ("ai_gen(t, on_error := 'skip')", "on_error must be 'fail' or 'null', not 'skip'"),
        ("summarize(t, overflow := 'cut')", "summarize: overflow must be 'truncate' or 'hierarchical' or 'error'"),
        ("ai_agg(t, 'why?', overflow := 'cut')", "ai_agg: overflow must be 'hierarchical' or 'error', not 'cut'"),
        ("ai_query('echo', t, modelParameters := {'max_tokens': 0})", "modelParameters: max_tokens must be"),
        (
            "ai_query('echo', t, files => ['a.png'])",
            "files must be an image as a BLOB, or a list of them, not the VARCHAR 'a",
        ),
    ],
)
def test_bad_constants_are_refused_whatever_on_error_says(
    call: str, words: str, con: Session, echo: EchoEngine
) -> None:
    said = call if "on_error" in call else f"{call[:-1]}, on_error := 'null')"
    with pytest.raises(SqlinferError, match=words.replace("[", r"\[")):
        con.execute(f"SELECT ai_gen('other'), {said} FROM (VALUES ('a')) v(t)").fetchall()
    assert echo.asked == []


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("ai_filter(t)", r"ai_filter needs condition. Its signature: ai_filter\(text, condition, "),
        ("t.ai_filter()", "ai_filter needs condition"),
        ("ai_agg(t)", "ai_agg needs instruction"),
        ("ai_mask(labels := ['name'])", "ai_mask needs text"),
    ],
)
def test_an_argument_that_is_missing_is_named(call: str, words: str, con: Session) -> None:
    with pytest.raises(SqlinferError, match=words):
        con.execute(f"SELECT {call} FROM (VALUES ('a')) v(t)")


def test_a_model_that_is_not_there_is_the_statements_error(con: Session, echo: EchoEngine) -> None:
    with pytest.raises(ModelNotFound, match="nope"):
        con.execute("SELECT ai_query('nope', t, on_error := 'null') FROM (VALUES ('a')) v(t)").fetchall()
    assert echo.asked == []
