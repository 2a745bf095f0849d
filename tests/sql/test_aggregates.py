"""AI aggregates: groups of any size, DuckDB's clauses for aggregates, and long texts in parts."""

from __future__ import annotations

import duckdb
import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.sql import Session
from tests.conftest import ECHO_WORDS, EchoEngine

SETUP = """
CREATE TABLE notes AS SELECT i AS id, i % 2 AS team, CASE WHEN i <> 3 THEN 'note ' || (i // 2) END AS body
  FROM range(6) r(i)
"""
CLAUSES = {
    "SELECT team, ai_summarize_agg(body) FROM notes GROUP BY team ORDER BY team": {
        0: "note 0\n\nnote 1\n\nnote 2",
        1: "note 0\n\nnote 2",
    },
    "SELECT team, ai_agg(body, 'Why?' ORDER BY id DESC) FROM notes GROUP BY team ORDER BY team": {
        0: "note 2\n\nnote 1\n\nnote 0",
        1: "note 2\n\nnote 0",
    },
    "SELECT 0, ai_agg(DISTINCT body, 'Why?', max_tokens := 3) FROM notes": {0: "note 0\n\nnote 1\n\nnote 2"},
    "SELECT team, ai_agg(body, 'Why?') FILTER (WHERE id < 1) FROM notes GROUP BY team ORDER BY team": {
        0: "note 0",
        1: None,
    },
    "SELECT id, ai_agg(body, 'Why?') OVER (ORDER BY id) FROM notes WHERE id < 2 ORDER BY id": {
        0: "note 0",
        1: "note 0\n\nnote 0",
    },
    "SELECT id, ai_agg(body, 'Why?') OVER () FROM notes WHERE id IN (1, 4) ORDER BY id": {
        1: "note 0\n\nnote 2",
        4: "note 0\n\nnote 2",
    },
    "SELECT id, ai_agg(body, 'Why?') OVER w FROM (FROM notes ORDER BY id DESC) WHERE id IN (0, 2, 5) "
    "WINDOW w AS (PARTITION BY team) ORDER BY id": {
        0: "note 0\n\nnote 1",
        2: "note 0\n\nnote 1",
        5: "note 2",
    },
    "SELECT id, ai_agg(body, 'Why?') OVER w FROM notes WHERE id IN (0, 2) WINDOW w AS (ORDER BY id DESC) ORDER BY id": {
        0: "note 1\n\nnote 0",
        2: "note 1",
    },
    "SELECT 0, ai_agg(body, 'Why?') FROM notes WHERE id = 3": {0: None},
    "SELECT 0, ai_agg(body, 'Why?') FROM notes WHERE false": {0: None},
    "SELECT team, ai_agg_list(list(body ORDER BY id), 'Why?') FROM notes GROUP BY team ORDER BY team": {
        0: "note 0\n\nnote 1\n\nnote 2",
        1: "note 0\n\nnote 2",
    },
    "SELECT team, ai_agg(body, CASE team WHEN 0 THEN 'Why?' END) FROM notes GROUP BY team ORDER BY team": {
        0: "note 0\n\nnote 1\n\nnote 2",
        1: None,
    },
}


@pytest.mark.parametrize("sql", CLAUSES)
def test_an_aggregate_takes_what_duckdbs_own_take(sql: str, con: Session, echo: EchoEngine) -> None:
    con.execute(SETUP)
    asked = CLAUSES[sql]
    expected = [(key, None if text is None else f"<{text}>") for key, text in asked.items()]
    assert con.execute(sql).fetchall() == con.sql(sql).fetchall() == expected
    assert sorted(r.text for r in echo.asked if r.needs_weights) == sorted(t for t in set(asked.values()) if t)


def test_a_plain_connection_has_the_aggregate_and_the_function_over_a_list(
    direct: duckdb.DuckDBPyConnection,
) -> None:
    direct.execute(SETUP)
    sql = "SELECT ai_agg(body, 'Why?'), ai_agg_list(list(DISTINCT body ORDER BY body), 'Why?') FROM notes WHERE id < 3"
    assert direct.execute(sql).fetchone() == ("<note 0\n\nnote 0\n\nnote 1>", "<note 0\n\nnote 1>")


@pytest.mark.skipif(duckdb.__version__.startswith("1."), reason="DuckDB 1.5 takes no macro with OVER")
def test_a_plain_connection_takes_windows(direct: duckdb.DuckDBPyConnection) -> None:
    direct.execute(SETUP)
    windows = ("PARTITION BY team", "ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW", "")
    calls = ", ".join(f"ai_agg(body, 'Why?') OVER ({window})" for window in windows)
    rows = direct.execute(f"SELECT id, {calls} FROM notes WHERE id IN (0, 2, 5) ORDER BY id").fetchall()
    pair, whole = "<note 0\n\nnote 1>", "<note 0\n\nnote 1\n\nnote 2>"
    assert rows == [
        (0, pair, "<note 0>", whole),
        (2, pair, pair, whole),
        (5, "<note 2>", "<note 1\n\nnote 2>", whole),
    ]


def test_equal_groups_ask_once(con: Session, echo: EchoEngine) -> None:
    con.execute("SELECT i // 2, ai_summarize_agg('same ' || (i % 2)) FROM range(2000) r(i) GROUP BY ALL").fetchall()
    assert [request.text for request in echo.asked] == ["same 0\n\nsame 1"] * 2, "where to cut it, then itself"


def test_a_large_group_is_asked_in_parts_and_no_word_is_lost(con: Session, echo: EchoEngine) -> None:
    echo._answer = shortened(echo)
    con.execute("CREATE TABLE words AS SELECT i % 3 AS g, 'w' || i || ' is a word.' AS w FROM range(900) r(i)")
    con.execute("SELECT g, ai_agg(w, 'Which?') FROM words GROUP BY g").fetchall()
    read = {word for request in echo.asked if request.needs_weights for word in request.text.split()}
    assert {f"w{i}" for i in range(900)} <= read
    assert all(len(r.text.split()) <= ECHO_WORDS for r in echo.asked if r.needs_weights)
    assert len(echo.batches) <= 12, "the groups go through each level together"


def shortened(echo: EchoEngine):  # type: ignore[no-untyped-def]
    whole = echo._answer
    return lambda request: whole(request) if not request.needs_weights else request.text.split()[0]


def test_parts_whose_answers_are_no_shorter_fail_their_row_alone(con: Session) -> None:
    long = "word " * 100
    sql = "SELECT summarize(x, overflow := 'hierarchical', on_error := '{}') FROM (VALUES ('short'), (?)) v(x)"
    assert con.execute(sql.format("null"), [long]).fetchall() == [("<short>",), (None,)]
    with pytest.raises(SqlinferError, match=r"summarize in step 2 .*shorter answers"):
        con.execute(sql.format("fail"), [long])


def test_a_failed_part_fails_its_group_alone(con: Session) -> None:
    con.execute(SETUP)
    sql = "SELECT team, ai_agg(body || CASE team WHEN 1 THEN ' boom' ELSE '' END, '?', on_error := 'null')"
    rows = con.execute(f"{sql} FROM notes GROUP BY team ORDER BY team").fetchall()
    assert rows == [(0, "<note 0\n\nnote 1\n\nnote 2>"), (1, None)]
    with pytest.raises(SqlinferError, match=r"ai_agg with model .*boom"):
        con.execute(sql.replace("'null'", "'fail'") + " FROM notes GROUP BY team")


def test_overflow_error_asks_the_text_as_it_is(con: Session, echo: EchoEngine) -> None:
    con.execute("SELECT summarize('a b', overflow := 'error'), ai_agg('a b', 'Why?', overflow := 'error')").fetchall()
    assert [(request.text, request.overflow) for request in echo.asked] == [("a b", "error")] * 2
    with pytest.raises(SqlinferError, match="overflow must be 'truncate' or 'hierarchical' or 'error', not 'cut'"):
        con.execute("SELECT summarize('a', overflow := 'cut')")


def test_an_aggregate_behind_a_filter_and_a_limit_is_asked_once(con: Session, echo: EchoEngine) -> None:
    con.execute("CREATE TABLE big AS SELECT i, 'angry ' || i % 4 AS body FROM range(5000) r(i)")
    con.execute("SELECT ai_agg(DISTINCT body, 'Why?') FROM big WHERE is_angry(body) LIMIT 1").fetchall()
    assert len(echo.asked) == 4 + 2


def test_details_say_what_a_value_took(con: Session, direct: duckdb.DuckDBPyConnection, echo: EchoEngine) -> None:
    sql = "SELECT summarize(x, details := true) AS d FROM (VALUES ('abc'), (NULL)) v(x)"
    details = {"prompt_tokens": 3, "completion_tokens": 1, "finish_reason": "stop", "truncated": False}
    assert con.execute(sql).fetchall() == [({"value": "<abc>", **details},), (None,)]
    assert con.execute(f"SELECT d.prompt_tokens + 1, d.value FROM ({sql})").fetchall() == [(4, "<abc>"), (None, None)]
    kind = "STRUCT(value VARCHAR, prompt_tokens INTEGER, truncated BOOLEAN)"
    typed = f"SELECT ai_summarize('abc', details := true, returns := '{kind}')"
    assert direct.execute(typed).fetchone() == ({"value": "<abc>", "prompt_tokens": 3, "truncated": False},)


def test_details_of_a_text_in_parts_are_sums_over_the_parts(con: Session, echo: EchoEngine) -> None:
    echo._answer = shortened(echo)
    sql = "SELECT ai_agg(DISTINCT 'w' || i || ' is a word.', 'Which?', details := true) FROM range(9) r(i)"
    ((details,),) = con.execute(sql).fetchall()
    generated = [request for request in echo.asked if request.needs_weights]
    assert len(generated) > 2
    assert details["completion_tokens"] == len(generated)
    assert details["prompt_tokens"] == sum(len(request.text) for request in generated)


def test_TRY_gives_NULL_for_the_rows_that_fail(con: Session, direct: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT TRY(ai_summarize(x, overflow := 'hierarchical')) FROM (VALUES ('a'), ('boom'), ('b')) v(x)"
    assert con.execute(sql).fetchall() == direct.execute(sql).fetchall() == [("<a>",), (None,), ("<b>",)]
