"""Parameters of SQL in calls: PREPARE and EXECUTE, values that Python gives, variables. DuckDB binds such a call before
it knows the types of its arguments."""

from __future__ import annotations

from contextlib import suppress

import duckdb
import pytest

from sqlinfer.errors import ModelUnusable
from sqlinfer.sql import Session
from tests.conftest import EchoEngine
from tests.open_calls import MANIFOLD, NAMES, REFUSED, each_way, one_by_one, open_calls, outcome, prepared
from tests.sql.test_wrong_kind import EMBEDS, TABLE

STILL_HERE = [("<still here>",)]


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_may_stand_for_any_argument(name: str, direct: duckdb.DuckDBPyConnection) -> None:
    one_by_one(direct, name)
    assert direct.execute("SELECT ai_gen('still here')").fetchall() == STILL_HERE


@pytest.mark.parametrize("name", MANIFOLD)
def test_values_are_the_same_in_whichever_way_they_come(name: str, direct: duckdb.DuckDBPyConnection) -> None:
    found = each_way(direct, one_by_one(direct, name))
    assert found == dict.fromkeys(found, found["literal"])


@pytest.mark.parametrize("name", ["ai_classify", "ai_query"])
def test_values_are_the_same_in_whichever_way_they_come_to_a_session(name: str, con: Session) -> None:
    calls = [c for c in open_calls(name) if outcome(con, f"SELECT {c.given(c.value.literal)}") != REFUSED]
    found = each_way(con, calls)
    assert found == dict.fromkeys(found, found["literal"])
    assert con.execute("SELECT ai_gen('still here')").fetchall() == STILL_HERE


@pytest.mark.parametrize("name", MANIFOLD)
def test_a_parameter_may_be_NULL(name: str, direct: duckdb.DuckDBPyConnection) -> None:
    for call in open_calls(name):
        literal = outcome(direct, f"SELECT {call.given('NULL')}")
        assert prepared(direct, f"SELECT {call.given('$1')}", "NULL") == literal, call
    assert direct.execute("SELECT ai_gen('still here')").fetchall() == STILL_HERE


@pytest.mark.parametrize(
    "select",
    [
        "ai_gen('a', model := $1)",
        "ai_gen($1, model := $1, stop := $1), $1",
        "ai_gen('a', stop := [$1]), $1::VARCHAR",
        "ai_gen({'a': $1}), $1::VARCHAR",
        "ai_gen(row($1, [$1])), $1::VARCHAR",
        "$1::VARCHAR, ai_classify('a', {'good': $1, 'bad': $1})",
        "ai_classify('a', MAP {'good': $1, 'bad': 'b'}), $1::VARCHAR",
        "list_transform(['a'], lambda x: ai_gen(x, model := $1)), $1::VARCHAR",
        "ai_gen(ai_gen('a', model := $1), model := $1), $1::VARCHAR",
        "ai_agg(x, 'join', model := $1), $1::VARCHAR FROM (VALUES ('a')) t(x)",
        "ai_gen(x, stop := $1) FROM (VALUES ('a')) t(x) WHERE ai_gen(x, model := $1) <> $1::VARCHAR",
        "ai_gen((SELECT {'a': $1}), model := (SELECT $1)), $1::VARCHAR",
    ],
)
def test_a_parameter_may_stand_anywhere_and_everywhere(
    select: str, con: Session, direct: duckdb.DuckDBPyConnection
) -> None:
    for connection in (con, direct):
        literal = outcome(connection, "SELECT " + select.replace("$1", "'echo'"))
        assert literal != REFUSED
        assert prepared(connection, f"SELECT {select}", "'echo'") == literal
        assert outcome(connection, f"SELECT {select}", ["echo"]) == literal
        prepared(connection, f"SELECT {select}", "3")
        prepared(connection, f"SELECT {select}", "[1, 2]")
        assert connection.execute("SELECT ai_gen('still here')").fetchall() == STILL_HERE


def test_EXECUTE_takes_a_value_of_another_type_each_time(direct: duckdb.DuckDBPyConnection) -> None:
    direct.execute("PREPARE asked AS SELECT ai_gen($1, stop := $1), $1::VARCHAR")
    answers = {
        "'a'": [("<a>", "a")],
        "3": REFUSED,
        "['b']": [("<[b]>", "[b]")],
        "NULL": [(None, None)],
        "'c'": [("<c>", "c")],
    }
    assert {value: outcome(direct, f"EXECUTE asked({value})") for value in answers} == answers


@pytest.mark.parametrize("model", ["$1", "$1::VARCHAR"])
def test_a_parameter_names_one_model_for_all_rows(
    model: str, con: Session, direct: duckdb.DuckDBPyConnection, echo: EchoEngine
) -> None:
    for connection, error in ((con, ModelUnusable), (direct, duckdb.Error)):
        connection.execute(TABLE)
        connection.execute(f"PREPARE asked AS SELECT ai_gen(x, model := {model}, on_error := 'null') FROM t")
        with pytest.raises(error) as raised:
            connection.execute("EXECUTE asked('sqlinfer/tiny-embed')").fetchall()
        assert EMBEDS in str(raised.value)
    assert echo.asked == []


def test_what_a_prepared_statement_asks_is_asked_in_one_batch(con: Session, echo: EchoEngine) -> None:
    con.execute("PREPARE gists AS SELECT ai_gen(concat($1, i)) FROM range(3000) r(i) WHERE i < $2")
    assert len(con.execute("EXECUTE gists('a', 2900)").fetchall()) == 2900
    con.execute("PREPARE named AS SELECT ai_gen($a || $b)")
    assert con.execute("EXECUTE named(b := 'x', a := 'y')").fetchall() == [("<yx>",)]
    assert echo.batches == [2900, 1]


def test_executemany_asks_for_all_its_rows_together(con: Session, echo: EchoEngine) -> None:
    con.execute("CREATE TABLE o (i INT, g VARCHAR)")
    con.executemany("INSERT INTO o SELECT ?, ai_gen(?)", [(i, f"t{i % 3}") for i in range(6)])
    con.executemany("INSERT INTO o SELECT $i, ai_gen($t)", [{"i": 6, "t": "t1"}, {"i": 7, "t": "t3"}])
    assert con.execute("FROM o ORDER BY i").fetchall()[5:] == [(5, "<t2>"), (6, "<t1>"), (7, "<t3>")]
    assert echo.batches == [3, 1]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT ai_gen('a' || random())", "other rows or values"),
        ("SET VARIABLE v = ai_gen('a')", "no SELECT"),
        ("SELECT CASE WHEN i > 3 THEN error('no') ELSE ai_gen('a' || i) END FROM range(9) r(i)", "did not reach"),
    ],
)
def test_a_statement_that_runs_chunk_by_chunk_says_why(
    con: Session, caplog: pytest.LogCaptureFixture, sql: str, reason: str
) -> None:
    with suppress(duckdb.Error):
        con.execute(sql).fetchall()
    (line,) = [record.getMessage() for record in caplog.records if "chunk by chunk" in record.getMessage()]
    assert reason in line
