"""Laws of scoring scripts in SQL: ai_predict gives what a script makes of each value, in the registered type."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sqlinfer
from sqlinfer import SqlinferError
from sqlinfer.sql import Session

Register = Callable[..., None]


@pytest.fixture
def con(home: Path) -> Iterator[Session]:
    """A session on the engines that users have."""
    with sqlinfer.connect() as session:
        yield session


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return folder


@pytest.fixture
def register(con: Session, folder: Path) -> Register:
    """Register a script under the name m."""

    def run(text: str, returns: str, **options: Any) -> None:
        (folder / "score.py").write_text(textwrap.dedent(text))
        options = {"script": "score.py", "returns": returns, "trust": True} | options
        listed = ", ".join(f"{key} = {value!r}" for key, value in options.items())
        con.execute(f"CREATE OR REPLACE MODEL m FROM '{folder}' WITH ({listed})")

    return run


SIZES = """
    import pathlib
    def run(batch):
        with pathlib.Path(__file__).with_name(".scored").open("a") as file:
            file.write("".join(f"{len(value)} " for value in batch))
        return [{"size": len(value), "first": value[0] if value else None} for value in batch]
"""


def test_a_script_gives_a_native_column(con: Session, register: Register) -> None:
    register(SIZES, "STRUCT(size INTEGER, first INTEGER)")
    blobs = r"(VALUES ('\xFF\x01'::BLOB), (NULL)) t(b)"
    rows = con.sql(f"SELECT p.size + 1, p.first FROM (SELECT ai_predict('m', b) AS p FROM {blobs})")
    assert rows.fetchall() == [(3, 255), (None, None)]
    assert str(con.sql(f"SELECT ai_predict('m', b) FROM {blobs}").types[0]) == 'STRUCT(size INTEGER, "first" INTEGER)'


def test_each_distinct_value_is_scored_once(con: Session, register: Register, folder: Path) -> None:
    register(SIZES, "STRUCT(size INTEGER, first VARCHAR)")
    for _ in range(2):
        query = "SELECT sum(ai_predict('m', ['ab', 'abc'][1 + i % 2]).size) FROM range(10) t(i)"
        assert con.sql(query).fetchall() == [(25,)]
    assert sorted((folder / ".scored").read_text().split()) == ["2", "3"]


def test_a_whole_row_comes_as_a_frame(con: Session, register: Register) -> None:
    register("def run(frame):\n    return frame.a * frame.b + frame.c.str.len()", "DOUBLE")
    rows = con.sql("SELECT ai_predict('m', t) FROM (VALUES (1, 2.5, 'x'), (3, 4.0, 'yy')) t(a, b, c)").fetchall()
    assert rows == [(3.5,), (14.0,)]


def test_a_registered_input_type_is_what_the_script_gets(con: Session, register: Register) -> None:
    register("def run(batch):\n    return [type(v).__name__ for v in batch]", "VARCHAR", input="DOUBLE")
    assert con.sql("SELECT ai_predict('m', 1), ai_predict('m', '2')").fetchall() == [("float", "float")]
    query = "SELECT ai_predict('m', x, on_error := 'null') FROM (VALUES ('1'), ('one')) t(x)"
    assert con.sql(query).fetchall() == [("float",), (None,)]


def test_a_row_that_breaks_the_script_is_an_error_of_its_own(con: Session, register: Register) -> None:
    register("def run(batch):\n    return [10 // v for v in batch]", "INTEGER", max_retries=0)
    query = "SELECT ai_predict('m', i{}) FROM range(3) t(i) ORDER BY i"
    assert con.sql(query.format(", on_error := 'null'")).fetchall() == [(None,), (10,), (5,)]
    with pytest.raises(SqlinferError, match=r"ZeroDivisionError.*\(score.py, line 2\)"):
        con.sql(query.format("")).fetchall()


def test_an_edited_script_is_another_version(con: Session, register: Register, folder: Path) -> None:
    (folder / "helper.py").write_text("ANSWER = 1")
    script = "import helper\ndef run(batch):\n    return [helper.ANSWER for _ in batch]"
    register(script, "INTEGER")
    assert con.sql("SELECT ai_predict('m', 0)").fetchall() == [(1,)]
    (folder / "helper.py").write_text("ANSWER = 22")
    with pytest.raises(SqlinferError, match="have changed since it was registered"):
        con.sql("SELECT ai_predict('m', 0)").fetchall()
    register(script, "INTEGER")
    assert con.sql("SELECT ai_predict('m', 0), ai_predict('m', 7)").fetchall() == [(22, 22)]


def test_a_script_needs_trust(register: Register) -> None:
    with pytest.raises(SqlinferError, match="runs the Python code"):
        register(SIZES, "INTEGER", trust=False)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"script": "scare.py"}, r"holds no file 'scare.py'. Did you mean score.py"),
        ({"script": "../score.py"}, "outside of the model's folder"),
        ({"returns": "STRUKT(a INTEGER)"}, "is not a SQL type"),
        ({"returns": ""}, "say the SQL type of its result"),
    ],
)
def test_a_registration_that_cannot_work_is_refused(register: Register, options: dict[str, Any], error: str) -> None:
    with pytest.raises(SqlinferError, match=error):
        register(SIZES, **{"returns": "INTEGER", **options})


def test_other_functions_refuse_a_script(con: Session, register: Register) -> None:
    register(SIZES, "INTEGER")
    with pytest.raises(SqlinferError, match="is scored by ai_predict alone"):
        con.sql("SELECT ai_gen('hi', model := 'm')").fetchall()


def test_what_a_script_prints_is_in_the_log_of_its_job(con: Session, register: Register, home: Path) -> None:
    register("def run(batch):\n    print('scores', batch)\n    return [1 for _ in batch]", "INTEGER")
    con.sql("SELECT ai_predict('m', i) FROM range(2) t(i)").fetchall()
    con.sql("SELECT ai_predict('m', i) FROM range(2) t(i)").fetchall()
    first, second = (job.job_id for job in reversed(con.runtime.store.jobs.list()[:2]))
    assert "m/1: scores [0, 1]" in con.runtime.store.log_file(first).read_text()
    assert not con.runtime.store.log_file(second).exists()
