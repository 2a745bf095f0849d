"""Which version a name means while statements run, and which versions made a table or file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import sqlinfer
from sqlinfer.errors import RequestsFailed
from sqlinfer.sql import Session
from sqlinfer.types import AnyRequest, ModelVersion
from tests.conftest import EchoEngine, write_model

ROWS = "(VALUES ('a'), ('b')) r(x)"


@pytest.fixture
def news(home: Path, tmp_path: Path) -> Iterator[Session]:
    """A session on two versions of one name, the first deployed; an answer says which version gave it. A text with
    'deploy' in it has the second deployed meanwhile."""
    with sqlinfer.connect(model="news") as session:
        registry = session.runtime.store.registry
        for version in (1, 2):
            write_model(tmp_path / str(version), version)
            registry.register("news", str(tmp_path / str(version)))
        registry.deploy("news", 1)

        def answer(version: ModelVersion, request: AnyRequest) -> str:
            if "deploy" in request.text:
                registry.deploy("news", 2)
            return f"{version.version}{request.text}"

        session.runtime.open_engine = lambda version: EchoEngine(lambda request: answer(version, request))
        yield session


@pytest.mark.parametrize(
    "outer",
    ["ai_gen({})", "ai_query('news', {})", "ai_gen({}, model := 'news')", "ai_complete('news', {}, max_tokens := 9)"],
)
def test_a_statement_keeps_its_version_whatever_is_deployed_while_it_runs(news: Session, outer: str) -> None:
    nested = outer.format("ai_query('news', 'deploy ' || x)")
    news.execute(f"CREATE TABLE t AS SELECT {nested} AS y FROM {ROWS}")
    assert news.execute("SELECT y FROM t ORDER BY y").fetchall() == [("11deploy a",), ("11deploy b",)]
    assert news.execute("SELECT ai_gen('next')").fetchall() == [("2next",)]


def test_the_next_statement_of_a_job_uses_what_is_deployed_and_no_answer_of_another_version(news: Session) -> None:
    with news.job("two statements"):
        for table, text in (("t", "'deploy'"), ("u", "'deploy'"), ("v", "x")):
            news.execute(f"CREATE TABLE {table} AS SELECT ai_gen({text}) AS y FROM {ROWS}")
    assert news.execute("SELECT DISTINCT y FROM t").fetchall() == [("1deploy",)]
    assert news.execute("SELECT DISTINCT y FROM u").fetchall() == [("2deploy",)]
    written = news.execute("SELECT unnest(written, recursive := true) FROM sqlinfer_jobs()").fetchall()
    assert written == [("t", ["news/1"]), ("u", ["news/2"]), ("v", ["news/2"])]


@pytest.mark.parametrize(
    ("statement", "target"),
    [
        (f"CREATE OR REPLACE TEMP TABLE u AS SELECT ai_gen(x) AS y FROM {ROWS}", "u"),
        (f"INSERT INTO main.t SELECT ai_gen(x) FROM {ROWS}", "main.t"),
        (f"WITH q AS (FROM {ROWS}) INSERT INTO t SELECT ai_gen(x) FROM q", "t"),
        ("UPDATE t SET y = ai_gen(y)", "t"),
        (f"MERGE INTO t USING (SELECT ai_gen(x) z FROM {ROWS}) ON y = z WHEN NOT MATCHED THEN INSERT VALUES (z)", "t"),
        (f"COPY (SELECT ai_gen(x) FROM {ROWS}) TO 'y.csv'", "y.csv"),
    ],
)
def test_a_job_says_which_version_made_a_table_or_file(
    news: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    news.execute("CREATE TABLE t AS SELECT 'old' AS y")
    for _ in range(2):  # answers that are cached are of a version too
        news.execute("SET sqlinfer_output_action = 'replace'")
        news.execute(statement)
    jobs = news.runtime.store.jobs.list()
    assert [job.written for job in jobs] == [{target: ["news/1"]}] * 2


def test_what_was_not_written_is_not_in_the_lineage(news: Session) -> None:
    news.execute("CREATE TABLE t AS SELECT 'old' AS y")
    with pytest.raises(RequestsFailed):
        news.execute(f"INSERT INTO t SELECT ai_gen('boom' || x) FROM {ROWS}")
    with pytest.raises(duckdb.Error):
        news.execute(f"INSERT INTO t SELECT error(ai_gen(x)) FROM {ROWS}")
    news.execute(f"SELECT ai_gen(x) FROM {ROWS}")
    news.execute("SET sqlinfer_output_action = 'summary_only'")
    news.execute(f"CREATE OR REPLACE TABLE t AS SELECT ai_gen(x) AS y FROM {ROWS}")
    assert all(job.written == {} for job in news.runtime.store.jobs.list())


def test_a_table_that_is_replaced_is_of_the_last_version_and_one_that_grows_of_all(news: Session) -> None:
    with news.job("three statements"):
        for verb in ("CREATE TABLE t AS", "CREATE OR REPLACE TABLE t AS", "CREATE TABLE u AS"):
            news.execute(f"{verb} SELECT ai_gen('deploy' || x) AS y FROM {ROWS}")
        news.runtime.store.registry.deploy("news", 1)
        news.execute("INSERT INTO u SELECT ai_gen('a')")
    assert news.runtime.store.jobs.list()[0].written == {"t": ["news/2"], "u": ["news/1", "news/2"]}


def test_a_prepared_statement_says_what_it_wrote(news: Session) -> None:
    news.execute("CREATE TABLE t (y VARCHAR)")
    news.execute("PREPARE fill AS INSERT INTO t SELECT ai_gen($1)")
    news.execute("EXECUTE fill('a')")
    assert news.runtime.store.jobs.list()[0].written == {"t": ["news/1"]}


def test_rows_given_one_by_one_are_of_a_version_too(news: Session) -> None:
    news.execute("CREATE TABLE t (y VARCHAR)")
    news.executemany("INSERT INTO t SELECT ai_gen(?)", [["a"], ["b"]])
    assert news.runtime.store.jobs.list()[0].written == {"t": ["news/1"]}
