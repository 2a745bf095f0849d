"""What becomes of a table or file that is there."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.sql import Session
from tests.conftest import EchoEngine

MADE = "CREATE TABLE t AS SELECT ai_gen(x) AS g FROM (VALUES ('a'), ('b')) r(x)"


@pytest.fixture
def made(con: Session) -> Session:
    con.execute("CREATE TABLE t AS SELECT '<old>' AS g")
    return con


@pytest.mark.parametrize(("action", "rows"), [("append_row", ["<a>", "<b>", "<old>"]), ("replace", ["<a>", "<b>"])])
def test_a_table_that_is_there_is_appended_to_or_replaced(made: Session, action: str, rows: list[str]) -> None:
    made.execute(f"SET sqlinfer_output_action = '{action}'")
    made.execute(MADE)
    assert made.execute("SELECT g FROM t ORDER BY g").fetchall() == [(row,) for row in rows]


@pytest.mark.parametrize("action", ["append_row", "replace", "fail_if_exists"])
def test_a_table_that_is_not_there_is_made(con: Session, action: str) -> None:
    con.execute(f"SET sqlinfer_output_action = {action}")
    con.execute(MADE)
    assert con.execute("SELECT count(*) FROM t").fetchall() == [(2,)]


@pytest.mark.parametrize("said", ["RESET sqlinfer_output_action", "SET sqlinfer_output_action = fail_if_exists"])
def test_a_table_or_a_file_is_refused_before_anything_is_asked(
    made: Session, echo: EchoEngine, tmp_path: Path, said: str
) -> None:
    made.execute(said)
    with pytest.raises(SqlinferError, match="table t exists already"):
        made.execute(MADE)
    path = tmp_path / "x.csv"
    path.write_text("old")
    with pytest.raises(SqlinferError, match=r"x\.csv exists already.*--output-action replace"):
        made.execute(f"COPY (SELECT ai_gen('a') AS g) TO '{path}'")
    assert (path.read_text(), echo.asked) == ("old", [])


SELECTED, TARGETS = "(SELECT ai_gen('a') AS g)", ["'{}'", "$${}$$", "?", "('{}' || '')", '"{}"', "\ufeff'{}'"]
VARIABLE = "(getvariable('file'))"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        *((SELECTED, target) for target in [*TARGETS, "$1", "e'{}' (HEADER)", "'~/x.csv'", VARIABLE]),
        *((source, target) for source in ("answers", "main.answers (g)") for target in TARGETS[:3]),
    ],
)
def test_a_file_that_is_there_is_refused_however_it_is_named(
    con: Session, echo: EchoEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    con.execute("CREATE VIEW answers AS SELECT ai_gen('a') AS g")
    path = tmp_path / "x.csv"
    path.write_text("old")
    con.execute("SET VARIABLE file = ?", [str(path)])
    values = [str(path)] if target in ("?", "$1") else None
    with pytest.raises(SqlinferError, match=r"x\.csv exists already"):
        con.execute(f"COPY {source} TO {target.format(path)}", values)
    assert (path.read_text(), echo.asked) == ("old", [])


def test_a_device_is_no_file_that_is_there(con: Session) -> None:
    con.execute("COPY (SELECT ai_gen('a') AS g) TO '/dev/null'")
    assert con.evaluator.statement.failures == {}


def test_a_table_that_is_kept_asks_nothing(made: Session, echo: EchoEngine) -> None:
    made.execute("CREATE TABLE IF NOT EXISTS t AS SELECT ai_gen('a') AS g")
    made.execute("CREATE TEMP TABLE IF NOT EXISTS u AS SELECT ai_gen('b') AS g")
    assert (echo.texts, made.execute("FROM t").fetchall()) == (["b"], [("<old>",)])


def test_a_view_that_is_copied_is_asked_in_one_batch(con: Session, echo: EchoEngine, tmp_path: Path) -> None:
    con.execute("CREATE VIEW answers AS SELECT ai_gen('a' || i) AS g FROM range(3000) r(i)")
    con.execute(f"COPY answers TO '{tmp_path / 'x.csv'}'")
    assert echo.batches == [3000]


def test_a_file_is_replaced_where_that_is_said_and_never_appended_to(con: Session, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    copy = f"COPY (SELECT ai_gen('a') AS g) TO '{path}' (HEADER false)"
    con.execute("SET sqlinfer_output_action = 'append_row'")
    with pytest.raises(SqlinferError, match="COPY cannot append"):
        con.execute(copy)
    con.execute("SET sqlinfer_output_action = 'replace'")
    con.execute(copy)
    assert path.read_text() == "<a>\n"


def test_statements_without_ai_functions_are_left_alone(made: Session, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    made.execute(f"COPY (SELECT 1 AS i) TO '{path}' (HEADER false)")
    assert path.read_text() == "1\n"
    made.execute("SET sqlinfer_output_action = 'replace'")
    with pytest.raises(duckdb.CatalogException):
        made.execute("CREATE TABLE t AS SELECT 1 AS i")


def test_summary_only_answers_and_writes_nothing(con: Session, echo: EchoEngine) -> None:
    con.execute("SET sqlinfer_output_action = 'summary_only'")
    (row,) = con.execute(MADE).fetchall()
    assert dict(zip([c[0] for c in con.description], row, strict=True))["generated"] == 2
    assert con.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]
    con.execute("RESET sqlinfer_output_action")
    con.execute(MADE)
    assert len(echo.asked) == 2
