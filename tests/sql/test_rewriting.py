"""Statements that are hard to rewrite give the rows that they give without phases."""

from __future__ import annotations

import duckdb
import pytest

from sqlinfer.sql import Session

SETUP = """
CREATE TABLE t AS SELECT i AS id, CASE i % 3 WHEN 0 THEN 'angry ' ELSE 'calm ' END || i AS body,
  'team' || (i % 2) AS team, i AS sample, i AS conflict, {'end': i} AS st FROM range(12) r(i);
CREATE TABLE u AS SELECT i AS id, 'team' || i AS team, i AS k FROM range(4) r(i);
CREATE TABLE w AS SELECT i AS id, i AS k FROM range(1, 4) r(i);
CREATE MACRO odd(x) AS x % 2 = 1;
"""
STATEMENTS = [
    "SELECT t.id, u.k FROM t LEFT JOIN u JOIN w ON u.id = w.id ON t.id = u.id WHERE is_angry(t.body)",
    "SELECT DISTINCT ON (team) team, is_angry(body) AND id > 1 AS c FROM t ORDER BY team, id",
    "SELECT id FROM t WHERE is_angry(body) AND id > 2 USING SAMPLE 100%",
    "SELECT id FROM t WHERE is_angry(body) AND id > sample - 1 AND conflict < 9",
    "SELECT id FROM t WHERE is_angry(body) AND st.end > 3",
    "SELECT t.id FROM u JOIN t ON u.id = t.id AND u.k > 0 JOIN w ON w.id = u.id WHERE is_angry(t.body)",
    "SELECT t.id FROM u JOIN t ON u.id = t.id JOIN (SELECT id AS i FROM w) ON i = u.id WHERE is_angry(t.body)",
    "SELECT t.id FROM t JOIN u ON t.id = u.id UNION ALL SELECT 99 WHERE is_angry('angry')",
    "SELECT t.id FROM t JOIN u ON t.id = u.id INTERSECT SELECT id FROM t WHERE is_angry(body)",
    "SELECT id FROM t WHERE odd(id) AND is_angry(body)",
    "SELECT count(*) FROM t WHERE is_angry(body) LIMIT 1",
    "SELECT id FROM t WHERE id IN (SELECT id FROM u WHERE k > 0) AND is_angry(body)",
    "PREPARE p AS SELECT id FROM t WHERE is_angry(body || ?) AND id % ? = 1; EXECUTE p('x', 3)",
    "CREATE TABLE o AS SELECT id FROM t WHERE is_angry(body) AND id > 3 WITH DATA; FROM o",
    "CREATE TABLE o AS SELECT id FROM t WHERE is_angry(body) AND id > 3 LIMIT 1; FROM o",
    "MERGE INTO u USING t ON u.id = t.id WHEN MATCHED THEN UPDATE SET (team, k) = (ai_gen(t.body), 3); FROM u",
    "SELECT id FROM t WHERE (is_angry(body) OR id = 1) AND NOT (id = 3 AND is_angry(team))",
    "SELECT team, count(*) FILTER (WHERE is_angry(body) AND id > 3) FROM t GROUP BY team",
    "SELECT id FROM t QUALIFY row_number() OVER (PARTITION BY is_angry(body) ORDER BY id) = 1 AND id >= 0",
    "PIVOT (SELECT team, is_angry(body) AS a FROM t) ON a USING count(*)",
]


@pytest.mark.parametrize("sql", STATEMENTS)
def test_a_statement_gives_the_rows_of_direct_mode(sql: str, con: Session, direct: duckdb.DuckDBPyConnection) -> None:
    con.execute(SETUP)
    for statement in SETUP.split(";")[:-1]:
        direct.execute(statement)
    for statement in sql.split("; "):
        con.execute(statement)
        direct.execute(statement)
    assert sorted(map(repr, con.fetchall())) == sorted(map(repr, direct.fetchall()))


def test_a_volatile_condition_in_a_macro_is_computed_once(con: Session) -> None:
    con.execute("CREATE MACRO coin() AS random() < 0.5; CREATE TABLE b AS SELECT 'angry' AS body FROM range(20000)")
    (count,) = con.execute("SELECT count(*) FROM b WHERE coin() AND is_angry(body)").fetchone()
    assert 9000 < count < 11000


def test_a_probe_that_breaks_in_a_transaction_says_so(con: Session) -> None:
    con.execute(SETUP)
    con.execute("BEGIN")
    with pytest.raises((duckdb.Error, OSError), match="none"):
        con.execute("SELECT coalesce(ai_count_tokens(body)::VARCHAR, 'none')::INT FROM t").fetchall()
    con.execute("ROLLBACK")
    assert con.execute("SELECT coalesce(ai_count_tokens(body)::VARCHAR, 'none')::INT FROM t").fetchall()
