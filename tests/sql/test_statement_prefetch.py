"""On a plain connection a whole statement is asked at its first chunk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import duckdb
import pytest

from sqlinfer.inference.counters import JobCounters
from sqlinfer.sql.connect import make_runtime
from sqlinfer.sql.statement_prefetch import STATEMENT, StatementPrefetch
from sqlinfer.sql.udf.registration import UdfRegistration
from sqlinfer.store import Store
from tests.conftest import EchoEngine
from tests.sql.conftest import UDFS


class Watched:
    """What a watch hears."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.finished_rows: list[int] = []

    def started(self, statement: str) -> Callable[[JobCounters], None]:
        return lambda counts: self.asked.append(counts.generated)

    def finished(self, statement: str, counts: JobCounters) -> None:
        self.finished_rows.append(counts.rows)


@pytest.fixture
def watch() -> Watched:
    return Watched()


@pytest.fixture
def prefetch(registered: None, echo: EchoEngine, watch: Watched) -> Iterator[StatementPrefetch]:
    """Evaluates the calls of `plain`."""
    runtime = make_runtime("echo", True, [UDFS], None)
    runtime.open_engine = lambda version: echo
    runtime.retain()
    connection = duckdb.connect()
    made = StatementPrefetch(connection.cursor, runtime, watch)
    made.connection = connection  # type: ignore[attr-defined]
    yield made
    connection.close()
    runtime.store.close()


@pytest.fixture
def plain(prefetch: StatementPrefetch) -> duckdb.DuckDBPyConnection:
    connection: duckdb.DuckDBPyConnection = prefetch.connection  # type: ignore[attr-defined]
    UdfRegistration(connection, prefetch, STATEMENT)
    connection.execute("CREATE TABLE texts AS SELECT i, 'text ' || i AS body FROM range(5000) r(i)")
    return connection


def test_a_statement_of_many_chunks_is_one_batch(
    plain: duckdb.DuckDBPyConnection, echo: EchoEngine, watch: Watched
) -> None:
    plain.execute("CREATE TABLE gists AS SELECT i, ai_gen(body, max_tokens := 3) AS gist FROM texts")
    assert echo.batches == [5000]
    assert plain.execute("SELECT gist FROM gists WHERE i = 4321").fetchall() == [("<text 4321>",)]
    assert watch.finished_rows == [5000]
    assert set(watch.asked) >= set(range(1, 5001)), "progress is shown after each completion, and may be between them"


def test_the_job_of_a_statement_says_which_version_made_its_table(
    plain: duckdb.DuckDBPyConnection, prefetch: StatementPrefetch
) -> None:
    plain.execute("CREATE TABLE gists AS SELECT ai_gen(body) AS gist FROM texts WHERE i < 3")
    assert prefetch.runtime.store.jobs.list()[0].written == {"gists": ["echo/1"]}


def test_questions_about_answers_are_batches_too(plain: duckdb.DuckDBPyConnection, echo: EchoEngine) -> None:
    rows = plain.sql("SELECT ai_gen(ai_gen(body)) FROM texts WHERE i < 3000").fetchall()
    assert len(rows) == 3000
    assert echo.batches == [3000, 3000]


def test_the_same_text_is_another_statement_when_it_runs_again(
    plain: duckdb.DuckDBPyConnection, echo: EchoEngine
) -> None:
    for num_new in (5000, 3000):
        plain.execute("SELECT count(ai_gen(body)) FROM texts").fetchall()
        assert echo.batches[-1] == num_new
        plain.execute("INSERT INTO texts SELECT i, 'text ' || i FROM range(5000, 8000) r(i)")


def test_each_statement_is_a_job(plain: duckdb.DuckDBPyConnection, prefetch: StatementPrefetch, home: object) -> None:
    for _ in range(2):
        plain.execute("SELECT count(ai_gen(body)) FROM texts WHERE i < 7").fetchall()
    with Store() as store:
        jobs = store.jobs.list(-1)
    assert [(job.rows, job.requests, job.known, job.generated) for job in jobs] == [(1, 7, 7, 0), (1, 7, 0, 7)]


def test_what_only_the_connection_sees_is_asked_as_it_comes(plain: duckdb.DuckDBPyConnection, echo: EchoEngine) -> None:
    plain.execute("CREATE TEMP TABLE mine AS FROM texts")
    assert plain.execute("SELECT count(ai_gen(body)) FROM mine").fetchall() == [(5000,)]
    assert sum(echo.batches) == 5000
    assert max(echo.batches) <= 2048
    plain.execute("BEGIN")
    plain.execute("CREATE TABLE uncommitted AS SELECT 'new ' || i AS body FROM range(10) r(i)")
    assert plain.execute("SELECT max(ai_gen(body)) FROM uncommitted").fetchall() == [("<new 9>",)]
    plain.execute("ROLLBACK")


def test_a_table_of_the_open_transaction_is_written_in_one_batch(
    plain: duckdb.DuckDBPyConnection, prefetch: StatementPrefetch, echo: EchoEngine
) -> None:
    plain.execute("BEGIN; CREATE TABLE out (i INT, g VARCHAR)")
    plain.execute("INSERT INTO out (i, g) (SELECT i, g FROM (SELECT i, ai_gen(body) AS g FROM texts) AS model)")
    plain.execute("COMMIT")
    (job,) = prefetch.runtime.store.jobs.list()
    assert (echo.batches, job.state, job.requests) == ([5000], "done", 5000)


def test_parameters_views_and_limits_give_what_they_should(plain: duckdb.DuckDBPyConnection, echo: EchoEngine) -> None:
    assert plain.execute("SELECT ai_gen(body) FROM texts WHERE i = ?", [7]).fetchall() == [("<text 7>",)]
    plain.execute("CREATE VIEW answers AS SELECT i, ai_gen(body) AS answer FROM texts")
    assert plain.execute("SELECT answer FROM answers WHERE i IN (8, 9) ORDER BY i").fetchall() == [
        ("<text 8>",),
        ("<text 9>",),
    ]
    assert plain.table("answers").filter("i = 10").project("answer").fetchall() == [("<text 10>",)]
    assert len(echo.asked) == 4


def test_explain_asks_nothing(plain: duckdb.DuckDBPyConnection, echo: EchoEngine) -> None:
    plain.execute("EXPLAIN SELECT ai_gen('constant'), ai_gen(body) FROM texts").fetchall()
    assert echo.asked == []


def test_an_error_names_its_cause_and_the_good_rows_are_kept(
    plain: duckdb.DuckDBPyConnection, echo: EchoEngine
) -> None:
    plain.execute("UPDATE texts SET body = 'boom' WHERE i = 2500")
    with pytest.raises(duckdb.Error, match="the model gave no answer"):
        plain.execute("SELECT count(ai_gen(body)) FROM texts").fetchall()
    plain.execute("SELECT count(ai_gen(body)) FROM texts WHERE i <> 2500").fetchall()
    assert len([text for text in echo.texts if text != "boom"]) == 4999
    with pytest.raises(duckdb.Error, match="max_tokens := NULL"):
        plain.execute("SELECT ai_gen(body, max_token := 3) FROM texts")
    with pytest.raises(duckdb.Error, match="max_tokens must be a whole number of at least 1"):
        plain.execute("SELECT ai_gen(body, max_tokens := 0) FROM texts").fetchall()


def test_interrupt_ends_a_statement_that_asks(
    plain: duckdb.DuckDBPyConnection, prefetch: StatementPrefetch, echo: EchoEngine, watch: Watched
) -> None:
    asked = threading.Event()

    def stop_after_ten(counts: JobCounters) -> None:
        if counts.generated == 10:
            prefetch.interrupt()
            asked.set()

    watch.started = lambda statement: stop_after_ten  # type: ignore[method-assign]
    with pytest.raises(duckdb.Error, match="every finished answer is kept"):
        plain.execute("SELECT count(ai_gen(body)) FROM texts").fetchall()
    assert asked.is_set()
    assert len(echo.asked) < 100
    watch.started = lambda statement: lambda counts: None  # type: ignore[method-assign]
    assert plain.execute("SELECT count(ai_gen(body)) FROM texts").fetchall() == [(5000,)]
    assert len(echo.asked) <= 5001
