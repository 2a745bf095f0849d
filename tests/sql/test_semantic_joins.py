"""Functions over two tables are computed for no more pairs of rows than max_pairs, however a statement asks them."""

from __future__ import annotations

import duckdb
import pytest

from sqlinfer.errors import StoppedEarly
from sqlinfer.sql import Session
from tests.conftest import EchoEngine

TABLES = """
CREATE TABLE left_texts AS SELECT i, 'left ' || i AS body FROM range(20) r(i);
CREATE TABLE right_texts AS SELECT j, 'right ' || j AS title FROM range(20) r(j)"""
PAIRS = "SELECT a.i FROM range(20) a(i) JOIN range(20) b(j) ON is_angry({})"


@pytest.mark.parametrize("call", ["a.i || ' and ' || b.j", "i || ' and ' || j"])
def test_a_condition_over_two_tables_asks_no_more_pairs_than_it_may(con: Session, echo: EchoEngine, call: str) -> None:
    con.execute("SET sqlinfer_max_pairs = 399")
    with pytest.raises(StoppedEarly, match=r"more than 399 pairs.*cheap condition.*sqlinfer_max_pairs"):
        con.execute(PAIRS.format(call))
    assert echo.asked == []
    con.execute("SET sqlinfer_max_pairs = 400")
    con.execute(PAIRS.format(call))
    assert len(echo.asked) == 400


def test_a_condition_on_one_table_of_a_join_is_no_pair(con: Session, echo: EchoEngine) -> None:
    con.execute("SET sqlinfer_max_pairs = 5")
    con.execute("SELECT a.i FROM range(20) a(i) JOIN range(20) b(j) ON a.i = b.j AND is_angry('x' || a.i)")
    con.execute("SELECT i FROM range(20) a(i) WHERE is_angry('y' || i)")
    assert len(echo.asked) == 40


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pair FROM (SELECT i || ' and ' || j AS pair FROM range(20) a(i), range(20) b(j)) WHERE is_angry(pair)",
        "WITH p AS (SELECT i || ' and ' || j AS pair FROM range(20) a(i), range(20) b(j)) FROM p WHERE is_angry(pair)",
        "SELECT i FROM pairs WHERE is_angry(i || ' and ' || j)",
        "SELECT i FROM range(20) a(i), range(20) b(j) WHERE is_angry(i || ' and ' || j)",
        "SELECT i FROM range(20) a(i) WHERE EXISTS (FROM range(20) b(j) WHERE is_angry(i || ' and ' || j))",
    ],
)
def test_pairs_are_seen_in_views_and_subqueries(con: Session, echo: EchoEngine, sql: str) -> None:
    con.execute("CREATE VIEW pairs AS SELECT a.i, b.j FROM range(20) a(i), range(20) b(j)")
    con.execute("SET sqlinfer_max_pairs = 399")
    for run in (con.execute, con.sql):
        with pytest.raises(StoppedEarly, match="more than 399 pairs"):
            run(sql).fetchall()
    assert echo.asked == []
    con.execute("SET sqlinfer_max_pairs = 400")
    con.execute(sql)
    assert len(echo.asked) == 400


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT i FROM pairs WHERE is_angry('x' || i)",
        "SELECT i FROM range(20) a(i), range(20) b(j) WHERE i = j AND is_angry('x' || i)",
        "SELECT i FROM range(20) a(i) LEFT JOIN range(20) b(j) ON i = j WHERE is_angry('x' || j)",
        "SELECT * FROM (SELECT i, count(*) AS n FROM pairs GROUP BY i) WHERE is_angry(i || 'x' || n)",
        "SELECT left_texts.i, ai_gen(left_texts.body) FROM left_texts, right_texts",
        "SELECT l.i FROM left_texts l, right_texts r WHERE ai_score(l.body, 'x') > r.j",
        "SELECT ai_gen(body || title) FROM left_texts JOIN right_texts ON i = j",
        "SELECT ai_gen(body || n) FROM left_texts, (SELECT count(*) AS n FROM right_texts)",
        "SELECT i FROM left_texts WHERE is_angry(body || (SELECT min(title) FROM right_texts))",
    ],
)
def test_what_reads_one_side_or_looks_a_row_up_is_no_pair(con: Session, echo: EchoEngine, sql: str) -> None:
    con.execute(TABLES)
    con.execute("CREATE VIEW pairs AS SELECT a.i, b.j FROM range(20) a(i), range(20) b(j)")
    con.execute("SET sqlinfer_max_pairs = 5")
    con.execute(sql)
    assert len(echo.asked) == 20


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT i FROM left_texts, right_texts WHERE ai_score(body || title, 'same') > 0.9",
        "SELECT i FROM left_texts JOIN right_texts ON i % 1 = j % 1 AND ai_gen(body || title) = 'x'",
        "SELECT * FROM (SELECT i, ai_score(body || title, 'same') AS s FROM left_texts, right_texts) WHERE s > 0.9",
        "SELECT ai_gen(body || title) FROM left_texts, right_texts",
        "SELECT i, max(ai_score(body || title, 'same')) FROM left_texts, right_texts GROUP BY i",
        "SELECT i FROM left_texts, right_texts WHERE i < j + 99 ORDER BY ai_score(body || title, 'same') LIMIT 3",
        "SELECT i, (SELECT max(ai_score(body || title, 'same')) FROM right_texts) FROM left_texts",
        "CREATE TABLE made AS SELECT ai_gen(pair) FROM (SELECT body || title AS pair FROM left_texts, right_texts)",
    ],
)
def test_every_function_over_two_tables_is_bounded(con: Session, echo: EchoEngine, sql: str) -> None:
    con.execute(TABLES)
    con.execute("SET sqlinfer_max_pairs = 399")
    with pytest.raises(StoppedEarly, match=r"more than 399 pairs.*Nothing was computed"):
        con.execute(sql)
    assert echo.asked == []
    con.execute("SET sqlinfer_max_pairs = 400")
    con.execute(sql)
    assert len(echo.asked) == 400


@pytest.mark.parametrize("run", ["execute", "sql", "rows", "filter"])
def test_pairs_are_bounded_before_a_limit(con: Session, run: str) -> None:
    con.execute(TABLES)
    sql = "SELECT i FROM left_texts, right_texts WHERE is_angry(body || title) LIMIT 10"
    con.execute("SET sqlinfer_max_pairs = 300")
    with pytest.raises((StoppedEarly, duckdb.Error), match="more than 300 pairs"):  # DuckDB's own as rows are streamed
        if run == "rows":
            con.rows(sql).arrow().read_all()  # type: ignore[union-attr]
        elif run == "filter":
            con.sql("FROM left_texts, right_texts").filter("is_angry(body || title)").limit(10).fetchall()
        else:
            getattr(con, run)(sql).fetchall()


def test_a_limit_computes_pairs_up_to_the_bound(con: Session, echo: EchoEngine) -> None:
    con.execute("CREATE TABLE l AS SELECT i FROM range(100) r(i); CREATE TABLE m AS SELECT i AS j FROM range(100) r(i)")
    con.execute("SET sqlinfer_max_pairs = 5000")
    with pytest.raises(StoppedEarly, match=r"more than 5,000 pairs.* had been computed, and the answers are kept"):
        con.execute("SELECT i FROM l, m WHERE is_angry(i || ' ' || j) LIMIT 10").fetchall()
    assert 0 < len(echo.asked) <= 5000


def test_what_is_known_of_pairs_does_not_count(con: Session, echo: EchoEngine) -> None:
    con.execute(TABLES)
    con.execute("SELECT ai_gen(body || title) FROM left_texts, right_texts")
    con.execute("SET sqlinfer_max_pairs = 5")
    con.execute("SELECT ai_gen(body || title) FROM left_texts, right_texts")
    assert len(echo.asked) == 400


def test_a_prepared_statement_and_a_transaction_are_bounded_too(con: Session, echo: EchoEngine) -> None:
    con.execute(TABLES)
    con.execute("PREPARE p AS SELECT ai_gen(body || title) FROM left_texts, right_texts")
    con.execute("SET sqlinfer_max_pairs = 300")
    with pytest.raises(StoppedEarly, match="more than 300 pairs"):
        con.execute("EXECUTE p").fetchall()
    con.execute("BEGIN")
    with pytest.raises(StoppedEarly, match="more than 300 pairs"):
        con.execute("SELECT i FROM left_texts, right_texts WHERE is_angry(body || title) LIMIT 10").fetchall()
    assert len(echo.asked) <= 300
