"""Calls have the type that their constant arguments say, in any shape of SQL."""

from __future__ import annotations

import duckdb
import pytest

from sqlinfer import SqlinferError
from sqlinfer.functions import load_functions
from sqlinfer.sql import Session
from sqlinfer.sql.rewrite.annotate_result_types import annotate_result_types
from sqlinfer.sql.rewrite.context import RewriteContext
from tests.conftest import EchoEngine
from tests.sql.conftest import UDFS

TEXTS = "(VALUES ('a'), (NULL)) v(x)"
CASES = [
    ("spell(x)", "VARCHAR", "a"),
    ("spell(x, 'VARCHAR', true)", "VARCHAR[]", ["a", "<a>"]),
    ("spell(x, many => TRUE /* , false) */)", "VARCHAR[]", ["a", "<a>"]),
    ("x.spell(many := true)[2]", "VARCHAR", "<a>"),
    ("main.SPELL(x, shape := 'STRUCT(' || 'text VARCHAR)').text", "VARCHAR", "a"),
    ("spell(x, shape := 'STRUCT(\"text\" ENUM(''a'', ''b''))')", "STRUCT(\"text\" ENUM('a', 'b'))", {"text": "a"}),
    ("spell(x, many := true, returns := 'JSON')", "JSON", '["a","<a>"]'),
    ("spell(spell(x, many := true)[1], many := true)", "VARCHAR[]", ["a", "<a>"]),
    ("spell(x, many := x = 'a')", "VARCHAR", '["a","<a>"]'),
]


@pytest.mark.parametrize(("call", "kind", "value"), CASES, ids=[call for call, *_ in CASES])
def test_a_call_has_the_type_that_its_constants_say(con: Session, call: str, kind: str, value: object) -> None:
    con.execute(f"SELECT {call} FROM {TEXTS}")
    assert str(con.description[0][1]).replace('"text"', "text") == kind.replace('"text"', "text")
    assert con.fetchall() == [(value,), (None,)]


@pytest.mark.parametrize(
    "sql_type", ["VARCHAR", "INTEGER[]", "STRUCT(a INTEGER)", "JSON", "MAP(VARCHAR, INTEGER)", "DATE"]
)
def test_a_call_of_constants_has_its_type_before_it_is_answered(con: Session, echo: EchoEngine, sql_type: str) -> None:
    relation = con.sql(f"SELECT spell(NULL, returns := '{sql_type}') AS n, spell('a', returns := '{sql_type}') AS a")
    assert list(map(str, relation.types)) == [sql_type] * 2
    assert echo.asked == []


def test_views_macros_and_tables_keep_the_type(con: Session) -> None:
    con.execute(f"CREATE VIEW words AS SELECT spell(x, many := true) AS w FROM {TEXTS}")
    con.execute("CREATE MACRO twice(y) AS spell(y, many := true)")
    con.execute("CREATE TABLE kept AS SELECT w, twice(w[1]) AS b FROM words")
    assert con.execute("SELECT typeof(w), typeof(b), b[1] FROM kept").fetchall()[0] == ("VARCHAR[]", "VARCHAR[]", "a")


def test_on_a_plain_connection_the_call_says_its_type(direct: duckdb.DuckDBPyConnection) -> None:
    rows = direct.execute("SELECT spell('a', many := true), spell('a', many := true, returns := 'VARCHAR[]')")
    assert rows.fetchall() == [('["a","<a>"]', ["a", "<a>"])]


def test_what_the_function_refuses_is_refused_before_anything_is_asked(con: Session, echo: EchoEngine) -> None:
    with pytest.raises(SqlinferError, match="spell: shape NONE is no type"):
        con.execute(f"SELECT spell(x, shape := 'NONE') FROM {TEXTS}")
    with pytest.raises(SqlinferError, match="spell: many must be true or false, not 3"):
        con.execute(f"SELECT spell(x, many := 3) FROM {TEXTS}")
    assert echo.asked == []


@pytest.mark.parametrize("sql", ["SELECT 'spell(x, many := true)' -- spell(x)", "SELECT spell(", "SELECT spell FROM t"])
def test_what_is_no_call_stays(sql: str) -> None:
    assert annotate_result_types(sql, RewriteContext(load_functions(UDFS))) == sql
