"""The laws of probe, infer, replay over the shapes of SQL: rows equal to direct mode, each distinct question once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest

import sqlinfer
from sqlinfer.sql import Session
from tests.conftest import EchoEngine
from tests.sql.conftest import UDFS
from tests.sql.shapes import ANGRY, BODIES, SETUP, SHAPES, Shape

Open = Callable[[int], Session]


@pytest.fixture(scope="module")
def tickets_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with what SETUP makes, which costs as much as a shape, made once."""
    path = tmp_path_factory.mktemp("tickets") / "tickets.duckdb"
    with sqlinfer.connect(path, store=False, udfs=[UDFS]) as session:
        session.execute(SETUP)
    return path


@pytest.fixture
def open_tickets(tickets_file: Path, tmp_path: Path, registered: None, echo: EchoEngine) -> Iterator[Open]:
    """Opens sessions on the echo model, each on a copy of the database of its own."""
    with ExitStack() as stack:

        def open_copy(number: int) -> Session:
            copy = shutil.copy(tickets_file, tmp_path / f"{number}.duckdb")
            session = stack.enter_context(sqlinfer.connect(copy, model="echo", udfs=[UDFS]))
            session.runtime.open_engine = lambda version: echo
            return session

        yield open_copy


def run(session: Session, shape: Shape) -> list[str]:
    """The rows that a shape gives, or that its query shows, in any order."""
    session.execute(shape.sql, shape.parameters)
    if shape.shows:
        session.execute(shape.shows)
    return sorted(map(repr, session.fetchall()))


def run_plainly(path: Path, shape: Shape) -> list[str]:
    """What DuckDB says of a shape without phases: only the reserved name is spelled as a plain connection needs it."""
    *before, last = shape.sql.replace("summarize(", "ai_summarize(").split("; ")
    with (
        duckdb.connect(str(path)) as connection,
        sqlinfer.register(connection, model="echo", store=False, udfs=[UDFS]) as registration,
    ):
        registration.runtime.open_engine = lambda version: EchoEngine()
        for statement in before:
            connection.execute(statement)
        connection.execute(last, shape.parameters) if shape.parameters else connection.execute(last)
        if shape.shows:
            connection.execute(shape.shows)
        return sorted(map(repr, connection.fetchall()))


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_gives_the_rows_of_direct_mode_asks_each_needed_question_once_and_a_rerun_nothing(
    name: str, open_tickets: Open, echo: EchoEngine, tickets_file: Path, tmp_path: Path
) -> None:
    shape = SHAPES[name]
    rows = run(open_tickets(1), shape)
    assert sorted(echo.texts) == sorted(shape.asks)
    assert rows == run_plainly(shutil.copy(tickets_file, tmp_path / "plain.duckdb"), shape)
    assert run(open_tickets(2), shape) == rows
    assert len(echo.asked) == len(shape.asks)


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if not shape.shows])
def test_a_relation_asks_as_the_statement_does(name: str, open_tickets: Open, echo: EchoEngine) -> None:
    shape, con = SHAPES[name], open_tickets(1)
    relation = con.sql(shape.sql, params=shape.parameters)
    assert echo.asked == [] or (shape.parameters and duckdb.__version__.startswith("1."))
    assert relation is not None
    rows = relation.fetchall()
    assert sorted(echo.texts) == sorted(shape.asks)
    con.execute(shape.sql, shape.parameters)
    assert sorted(map(repr, con.fetchall())) == sorted(map(repr, rows))
    assert len(echo.asked) == len(shape.asks)


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
