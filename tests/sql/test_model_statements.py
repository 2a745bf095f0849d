"""Models are made, shown, named and dropped in SQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlinfer.errors import ModelNotFound, SqlinferError
from sqlinfer.sql import Session
from tests.conftest import EchoEngine, write_model


def test_models_are_made_shown_and_dropped_in_SQL(con: Session, tmp_path: Path) -> None:
    write_model(tmp_path / "m", weight=2.0)
    write_model(tmp_path / "n", weight=3.0)
    con.execute(f"CREATE MODEL gists FROM '{tmp_path / 'm'}' WITH (task = 'summarize', max_tokens = 9)")
    con.execute(f"CREATE OR REPLACE MODEL gists FROM '{tmp_path / 'n'}'")
    con.execute("ALTER MODEL gists SET ALIAS champion = 1")
    names = [(name, version) for name, version, *_ in con.execute("SHOW MODELS").fetchall()]
    assert ("gists", 2) in names
    described = dict(con.sql("DESCRIBE MODEL 'gists@champion'").fetchall())
    assert (described["version"], described["max_tokens"], described["task"]) == ("1", "9", "summarize")
    con.execute("DROP MODEL gists; DROP MODEL IF EXISTS gists")
    with pytest.raises(ModelNotFound):
        con.execute("SELECT ai_query('gists', 'a')")


def test_models_are_shown_on_a_connection_that_reads_nothing_from_outside(con: Session, tmp_path: Path) -> None:
    write_model(tmp_path / "m", weight=2.0)
    con.execute("SET enable_external_access = false")
    made = con.execute(f"CREATE MODEL gists FROM '{tmp_path / 'm'}'")
    assert [(name, version) for name, version, *_ in made.fetchall()] == [("gists", 1)]
    assert "gists" in [row[0] for row in con.sql("SHOW MODELS").fetchall()]
    assert con.execute("DESCRIBE MODEL gists").fetchone() == ("name", "gists")


def test_a_model_statement_that_does_not_parse_shows_the_forms(con: Session) -> None:
    for sql in ("CREATE MODEL m", "CREATE MODEL m FROM x", "ALTER MODEL m SET ALIAS a", "SHOW MODELS m"):
        with pytest.raises(SqlinferError, match="CREATE \\[OR REPLACE\\] MODEL name FROM"):
            con.execute(sql)


def test_other_weights_under_a_name_are_asked_anew(con: Session, echo: EchoEngine, tmp_path: Path) -> None:
    for weight in (5.0, 6.0):
        write_model(tmp_path / str(weight), weight)
        con.execute(f"CREATE OR REPLACE MODEL m FROM '{tmp_path / str(weight)}'")
        con.execute("SELECT ai_query('m', 'a')").fetchall()
    assert len(echo.asked) == 2
