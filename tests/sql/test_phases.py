"""The laws of probe, infer, replay over the shapes of SQL: rows equal to direct mode, each distinct question once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

import sqlinfer
from sqlinfer.sql import Session
from tests.conftest import EchoEngine
from tests.sql.conftest import UDFS

SETUP = """
CREATE TABLE tickets AS
  SELECT i AS id, CASE i % 3 WHEN 0 THEN 'angry ' ELSE 'calm ' END || (i % 6) AS body, 'team' || (i % 2) AS team
  FROM range(12) r(i);
CREATE TABLE teams AS SELECT * FROM (VALUES ('team0', 'red'), ('team1', 'blue')) v(team, colour);
CREATE TABLE target AS SELECT id, body AS text FROM tickets WHERE id < 4;
ALTER TABLE target ADD PRIMARY KEY (id);
CREATE VIEW gists AS SELECT id, team, summarize(body) AS gist FROM tickets;
CREATE MACRO gist_of(x) AS ai_gen(concat('gist: ', x));
"""
BODIES = {"angry 0", "calm 1", "calm 2", "angry 3", "calm 4", "calm 5"}
ANGRY = {"angry 0", "angry 3"}
CALM = BODIES - ANGRY


@dataclass
class Shape:
    """A statement, the texts that it must ask and no others, and the query that shows what it did."""

    sql: str
    asks: set[str]
    shows: str = ""
    parameters: object = None
    setup: str = ""
    keeps: set[str] = field(default_factory=set)


SHAPES = {
    "projection": Shape("SELECT id, ai_gen(body) FROM tickets", BODIES),
    "nested calls": Shape(
        "SELECT id, ai_gen('2: ' || ai_gen(body)) FROM tickets", BODIES | {f"2: <{b}>" for b in BODIES}
    ),
    "filter and projection": Shape(
        "SELECT id, summarize(team) FROM tickets WHERE is_angry(body)", BODIES | {"team0", "team1"}
    ),
    "filter decides what is asked": Shape(
        "SELECT id, summarize(body || '!') FROM tickets WHERE is_angry(body)", BODIES | {b + "!" for b in ANGRY}
    ),
    "negated filter": Shape(
        "SELECT id, ai_gen(body || '!') FROM tickets WHERE NOT is_angry(body)", BODIES | {b + "!" for b in CALM}
    ),
    "case with an AI condition": Shape(
        "SELECT id, CASE WHEN is_angry(body) THEN ai_gen('sorry ' || body) ELSE ai_gen('thanks ' || body) END "
        "FROM tickets",
        BODIES | {f"sorry {b}" for b in ANGRY} | {f"thanks {b}" for b in CALM},
    ),
    "join on an AI condition": Shape(
        "SELECT t.id, u.colour FROM tickets t JOIN teams u ON is_angry(t.body || u.colour) AND t.team = u.team",
        {b + c for b, c in [(f"{'angry' if i % 3 == 0 else 'calm'} {i}", ("red", "blue")[i % 2]) for i in range(6)]},
    ),
    "filter above a join": Shape(
        "SELECT t.id FROM tickets t JOIN target u ON t.id = u.id WHERE is_angry(t.body)", BODIES - {"calm 4", "calm 5"}
    ),
    "filter above a left join": Shape(
        "SELECT t.id FROM tickets t LEFT JOIN target u ON t.id = u.id WHERE is_angry(t.body)", BODIES
    ),
    "group by answers": Shape("SELECT ai_gen(body) AS g, count(*) FROM tickets GROUP BY g", BODIES),
    "AI over an aggregate of answers": Shape(
        "SELECT team, summarize(string_agg(ai_gen(body), ';' ORDER BY id)) FROM tickets WHERE id < 6 GROUP BY team",
        BODIES | {"<angry 0>;<calm 2>;<calm 4>", "<calm 1>;<angry 3>;<calm 5>"},
    ),
    "having": Shape(
        "SELECT team FROM tickets WHERE id < 6 GROUP BY team HAVING is_angry(string_agg(body, ';' ORDER BY id))",
        {"angry 0;calm 2;calm 4", "calm 1;angry 3;calm 5"},
    ),
    "aggregate of answers": Shape(
        "SELECT team, ai_agg_list(list(ai_gen(body) ORDER BY id), 'Why?', overflow := 'error') FROM tickets "
        "WHERE id < 6 GROUP BY team",
        BODIES | {"<angry 0>\n\n<calm 2>\n\n<calm 4>", "<calm 1>\n\n<angry 3>\n\n<calm 5>"},
    ),
    "window over answers": Shape(
        "SELECT id, count(*) OVER (PARTITION BY ai_gen(body)), lag(ai_gen(body)) OVER (ORDER BY id) FROM tickets",
        BODIES,
    ),
    "qualify": Shape(
        "SELECT id, team FROM tickets QUALIFY row_number() OVER (PARTITION BY team ORDER BY id) <= 2 "
        "AND is_angry(body)",
        {"angry 0", "calm 1", "calm 2", "angry 3"},
    ),
    "cte used twice": Shape(
        "WITH g AS (SELECT id, ai_gen(body) AS gist FROM tickets) "
        "SELECT a.id, b.gist FROM g a JOIN g b ON a.id = b.id + 1",
        BODIES,
    ),
    "union": Shape(
        "SELECT ai_gen(body) FROM tickets WHERE id < 3 UNION SELECT ai_gen(body) FROM tickets WHERE id < 5",
        {"angry 0", "calm 1", "calm 2", "angry 3", "calm 4"},
    ),
    "correlated subquery": Shape(
        "SELECT team, (SELECT max(ai_gen(t.body)) FROM tickets t WHERE t.team = u.team AND t.id < 4) FROM teams u",
        {"angry 0", "calm 1", "calm 2", "angry 3"},
    ),
    "exists": Shape(
        "SELECT team FROM teams u WHERE EXISTS (FROM tickets t WHERE t.team = u.team AND is_angry(t.body))", BODIES
    ),
    "view": Shape("SELECT gist FROM gists WHERE id < 2", {"angry 0", "calm 1"}),
    "macro": Shape(
        "SELECT gist_of(body) AS answer FROM tickets", {f"gist: {b}" for b in BODIES}
    ),
    "limit": Shape("SELECT id, ai_gen(body || id) FROM tickets ORDER BY id LIMIT 2", {"angry 00", "calm 11"}),
    "limit and offset": Shape("SELECT ai_gen(body || id) FROM tickets ORDER BY id LIMIT 1 OFFSET 3", {"angry 33"}),
    "distinct": Shape("SELECT DISTINCT ai_gen(team) FROM tickets", {"team0", "team1"}),
    "positional parameters": Shape(
        "SELECT ai_gen(? || body) FROM tickets WHERE id = ?", {"hi calm 1"}, parameters=["hi ", 1]
    ),
    "named parameters": Shape(
        "SELECT ai_gen($hi || body) FROM tickets WHERE id = $id", {"hi calm 1"}, parameters={"hi": "hi ", "id": 1}
    ),
    "guarded parameters": Shape(
        "SELECT id FROM tickets WHERE is_angry(body || ?) AND id % ? = 1",
        {"calm 1!", "calm 4!"},
        parameters=["!", 3],
    ),
    "subquery in from": Shape(
        "SELECT upper(g) FROM (SELECT ai_gen(body) AS g FROM tickets) WHERE g LIKE '%1%'", BODIES
    ),
    "from first": Shape("FROM tickets SELECT ai_gen(team)", {"team0", "team1"}),
    "lateral": Shape("SELECT g FROM teams u, LATERAL (SELECT ai_gen(u.colour) AS g)", {"red", "blue"}),
    "method call": Shape("SELECT body.summarize() FROM tickets", BODIES),
    "lambda over a list": Shape(
        "SELECT list_transform(['a', 'b'], lambda x: upper(x)), ai_gen(team) FROM tickets", {"team0", "team1"}
    ),
    "values": Shape("VALUES (ai_gen('a')), (ai_gen('b'))", {"a", "b"}),
    "constant": Shape("SELECT ai_gen('a')", {"a"}),
    "NULL asks nothing": Shape("SELECT ai_gen(NULL), ai_gen(nullif(team, 'team0')) FROM tickets", {"team1"}),
    "create table as": Shape("CREATE TABLE out AS SELECT id, ai_gen(body) AS g FROM tickets", BODIES, "FROM out"),
    "create or replace with a cte": Shape(
        "CREATE OR REPLACE TABLE target AS WITH q AS (FROM tickets WHERE id < 2) SELECT ai_gen(body) AS g FROM q",
        {"angry 0", "calm 1"},
        "FROM target",
    ),
    "insert select": Shape(
        "INSERT INTO target SELECT id, ai_gen(body) FROM tickets WHERE id > 9", {"calm 4", "calm 5"}, "FROM target"
    ),
    "insert values": Shape(
        "INSERT INTO target (id, text) VALUES (100, ai_gen('a')), (101, ai_gen('b'))", {"a", "b"}, "FROM target"
    ),
    "insert on conflict": Shape(
        "INSERT INTO target SELECT id, ai_gen(body) FROM tickets WHERE id < 5 ON CONFLICT (id) DO UPDATE "
        "SET text = excluded.text",
        BODIES - {"calm 5"},
        "FROM target",
    ),
    "insert with a cte and returning": Shape(
        "WITH q AS (FROM tickets WHERE id = 11) INSERT INTO target SELECT id, ai_gen(body) FROM q RETURNING text",
        {"calm 5"},
        "FROM target",
    ),
    "update": Shape("UPDATE target SET text = ai_gen(text) WHERE id <> 0", CALM - {"calm 4", "calm 5"} | {"angry 3"},
                    "FROM target"),
    "update where": Shape(
        "UPDATE target SET text = summarize('new ' || text) WHERE is_angry(text) AND id < 3",
        {"angry 0", "calm 1", "calm 2", "new angry 0"},
        "FROM target",
    ),
    "update from": Shape(
        "UPDATE target SET text = ai_gen(u.colour) FROM teams u WHERE u.team = 'team' || (target.id % 2)",
        {"red", "blue"},
        "FROM target",
    ),
    "merge": Shape(
        "MERGE INTO target USING tickets t ON target.id = t.id AND t.id < 6 "
        "WHEN MATCHED AND is_angry(t.body) THEN UPDATE SET text = ai_gen('up ' || t.body) "
        "WHEN NOT MATCHED AND t.id < 6 THEN INSERT (id, text) VALUES (t.id, ai_gen('in ' || t.body))",
        {"angry 0", "calm 1", "calm 2", "angry 3", "up angry 0", "up angry 3", "in calm 4", "in calm 5"},
        "FROM target",
    ),
    "delete": Shape("DELETE FROM target WHERE is_angry(text)", {"angry 0", "calm 1", "calm 2", "angry 3"},
                    "FROM target"),
    "delete with a cheap condition": Shape(
        "DELETE FROM target WHERE is_angry(text) AND id % 2 = 0", {"angry 0", "calm 2"}, "FROM target"
    ),
    "several statements": Shape(
        "CREATE TABLE a AS SELECT ai_gen(team) AS g FROM tickets; CREATE TABLE b AS SELECT ai_gen(g) AS g FROM a",
        {"team0", "team1", "<team0>", "<team1>"},
        "FROM a UNION ALL FROM b",
    ),
    "explicit transaction": Shape(
        "BEGIN; CREATE TABLE a AS SELECT ai_gen(team) AS g FROM tickets; INSERT INTO a SELECT ai_gen(g) FROM a; COMMIT",
        {"team0", "team1", "<team0>", "<team1>"},
        "FROM a",
    ),
    "rolled back": Shape(
        "BEGIN; INSERT INTO target SELECT id, ai_gen(body) FROM tickets WHERE id = 11; ROLLBACK",
        {"calm 5"},
        "FROM target",
    ),
}  # fmt: skip


def run_plainly(connection: duckdb.DuckDBPyConnection, shape: Shape) -> list[tuple[object, ...]]:
    """What DuckDB says of a shape without phases: only the reserved name is spelled as a plain connection needs it."""
    for statement in SETUP.replace("summarize(", "ai_summarize(").split(";"):
        connection.execute(statement)
    sql = shape.sql.replace("summarize(", "ai_summarize(")
    for statement in sql.split("; ")[:-1]:
        connection.execute(statement)
    last = sql.split("; ")[-1]
    connection.execute(last, shape.parameters) if shape.parameters else connection.execute(last)
    if shape.shows:
        connection.execute(shape.shows)
    return sorted(map(repr, connection.fetchall()))


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_gives_the_rows_of_direct_mode_and_asks_each_needed_question_once(
    name: str, con: Session, echo: EchoEngine, direct: duckdb.DuckDBPyConnection
) -> None:
    shape = SHAPES[name]
    con.execute(SETUP)
    con.execute(shape.sql, shape.parameters)
    if shape.shows:
        con.execute(shape.shows)
    rows = sorted(map(repr, con.fetchall()))
    assert sorted(echo.texts) == sorted(shape.asks)
    assert rows == run_plainly(direct, shape)


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if not shape.shows])
def test_a_relation_asks_as_the_statement_does(name: str, con: Session, echo: EchoEngine) -> None:
    shape = SHAPES[name]
    con.execute(SETUP)
    relation = con.sql(shape.sql, params=shape.parameters)
    assert echo.asked == [] or (shape.parameters and duckdb.__version__.startswith("1."))
    assert relation is not None
    rows = relation.fetchall()
    assert sorted(echo.texts) == sorted(shape.asks)
    con.execute(shape.sql, shape.parameters)
    assert sorted(map(repr, con.fetchall())) == sorted(map(repr, rows))
    assert len(echo.asked) == len(shape.asks)


@pytest.mark.parametrize("name", SHAPES)
def test_a_rerun_asks_nothing(name: str, con: Session, echo: EchoEngine, echo_folder: Path) -> None:
    shape = SHAPES[name]
    con.execute(SETUP)
    con.execute(shape.sql, shape.parameters)
    con.fetchall()
    asked = len(echo.asked)
    with sqlinfer.connect(model="echo", udfs=[UDFS]) as again:
        again.runtime.open_engine = lambda version: echo
        again.execute(SETUP)
        again.execute(shape.sql, shape.parameters)
        again.fetchall()
    assert len(echo.asked) == asked


def test_copy_writes_the_rows(con: Session, echo: EchoEngine, tmp_path: Path) -> None:
    con.execute(SETUP)
    path = tmp_path / "out.parquet"
    con.execute(f"COPY (SELECT id, ai_gen(body) AS g FROM tickets) TO '{path}' (FORMAT parquet)")
    assert sorted(echo.texts) == sorted(BODIES)
    assert con.execute(f"SELECT count(*) FROM '{path}' WHERE g LIKE '<%>'").fetchone() == (12,)


@pytest.mark.parametrize("sql", ["is_angry(body) AND id % 6 = 0", "id % 6 = 0 AND is_angry(body)"])
@pytest.mark.parametrize("source", ["table", "parquet", "pandas", "arrow"])
def test_cheap_conditions_come_first_whichever_side_they_stand_on(
    sql: str, source: str, con: Session, echo: EchoEngine, tmp_path: Path
) -> None:
    con.execute(SETUP)
    con.execute(f"COPY tickets TO '{tmp_path / 'tickets.parquet'}'")
    frame = con.sql("FROM tickets").df() if source == "pandas" else con.sql("FROM tickets").to_arrow_table()
    name = {"table": "tickets", "parquet": f"'{tmp_path / 'tickets.parquet'}'"}.get(source, "frame")
    assert len(frame) == 12
    assert len(con.sql(f"SELECT id FROM {name} WHERE {sql}").fetchall()) == 2
    assert echo.texts == ["angry 0"]


def test_a_filter_is_asked_before_what_stands_behind_it(con: Session, echo: EchoEngine) -> None:
    con.execute(SETUP)
    con.execute("SELECT ai_gen(body || '!'), is_angry(body) FROM tickets").fetchall()
    first = echo.asked[: len(BODIES)]
    assert {request.text for request in first} == BODIES


def test_sequences_are_not_drawn_by_a_probe(con: Session) -> None:
    con.execute("CREATE SEQUENCE s; CREATE TABLE t (id INT, g VARCHAR)")
    con.execute("INSERT INTO t SELECT nextval('s'), ai_gen(x) FROM (VALUES ('a'), ('b')) v(x)")
    assert con.execute("SELECT id, g FROM t ORDER BY id").fetchall() == [(1, "<a>"), (2, "<b>")]


def test_a_volatile_input_is_asked_on_the_spot(con: Session, echo: EchoEngine) -> None:
    rows = con.execute("SELECT x, ai_gen(x) FROM (SELECT uuid()::VARCHAR AS x FROM range(3))").fetchall()
    assert all(answer == f"<{x}>" for x, answer in rows)


def test_NULLs_in_place_of_answers_do_not_break_the_statement(con: Session) -> None:
    con.execute(SETUP)
    sql = "SELECT CASE WHEN ai_gen(team) IS NULL THEN error('no answer') ELSE 1 END FROM tickets"
    assert con.execute(sql).fetchall() == [(1,)] * 12


def test_explain_and_describe_ask_nothing(con: Session, echo: EchoEngine) -> None:
    con.execute(SETUP)
    con.execute("EXPLAIN SELECT ai_gen('x'), ai_gen(body) FROM tickets").fetchall()
    con.execute("DESCRIBE SELECT ai_gen('x') FROM tickets").fetchall()
    con.execute("CREATE VIEW v AS SELECT ai_gen(body) AS g FROM tickets")
    assert echo.asked == []


def test_a_statement_without_AI_runs_as_it_is(con: Session) -> None:
    con.execute("CREATE TABLE t (i INT)")
    con.executemany("INSERT INTO t VALUES (?)", [[1], [2]])
    assert con.execute("SELECT sum(i) FROM t WHERE i > ?", [0]).fetchone() == (3,)


def test_an_input_that_changes_from_run_to_run_does_not_go_round_for_ever(con: Session, echo: EchoEngine) -> None:
    rows = con.execute("SELECT ai_gen(now()::VARCHAR || i) AS g FROM range(3) r(i)").fetchall()
    assert len(rows) == 3
    assert len(echo.asked) <= 9


def test_an_AI_filter_before_a_limit_stops_early(con: Session, echo: EchoEngine) -> None:
    con.execute("CREATE TABLE big AS SELECT i, 'angry ' || i AS body FROM range(100000) r(i)")
    assert len(con.execute("SELECT i FROM big WHERE is_angry(body) LIMIT 3").fetchall()) == 3
    assert len(echo.asked) <= 4 * 2048


def test_a_second_AI_condition_is_asked_where_the_first_holds(con: Session, echo: EchoEngine) -> None:
    con.execute(SETUP)
    con.execute("SELECT id FROM tickets WHERE is_angry(body) AND is_angry('still ' || body)").fetchall()
    assert set(echo.texts) == BODIES | {f"still {body}" for body in ANGRY}


def test_a_probe_may_ask_too_much_and_the_result_is_exact(con: Session, echo: EchoEngine) -> None:
    con.execute("CREATE TABLE t AS SELECT unnest(['a', 'b']) AS x")
    sql = "SELECT ai_gen(coalesce(ai_gen(x), 'none')) FROM t ORDER BY 1"
    assert con.execute(sql).fetchall() == [("<<a>>",), ("<<b>>",)]
    assert set(echo.texts) == {"a", "b", "<a>", "<b>", "none"}


def test_a_probe_leaves_an_explicit_transaction_usable(con: Session) -> None:
    con.execute(SETUP)
    con.execute("BEGIN; INSERT INTO target VALUES (50, 'angry 50')")
    rows = con.execute("SELECT ai_gen(text) FROM target WHERE is_angry(text) AND id > 9").fetchall()
    assert rows == [("<angry 50>",)]
    con.execute("ROLLBACK")
    assert con.execute("SELECT count(*) FROM target").fetchone() == (4,)
