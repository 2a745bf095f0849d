"""A session behaves as DuckDB's connection."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import sqlinfer
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql import Session
from sqlinfer.types import AnyRequest, Completion
from tests.conftest import EchoEngine, write_model
from tests.sql.conftest import UDFS


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (
            "(SELECT count(*) FROM texts WHERE i < 3 AND is_angry(body))",
            ["(SELECT count_star() FROM texts WHERE ((i < 3) AND is_angry(body)))"],
        ),
        ("$1, ai_gen($1), ai_gen($1) AS g", ["$1", "ai_gen($1)", "g"]),
        ("DISTINCT ai_extract('a', ['b']), i", ["ai_extract('a', list_value('b'))", "i"]),
        ("ai_agg(DISTINCT body, 'how?'), count(*)", ["ai_agg(DISTINCT body, 'how?')", "count_star()"]),
        ("ai_gen('a'), body.ai_gen()", ["ai_gen('a')", "body.ai_gen()"]),
    ],
)
def test_a_column_has_the_name_of_its_text(texts: Session, columns: str, names: list[str]) -> None:
    sql, values = f"SELECT {columns} FROM texts WHERE i < 9 AND NOT is_angry(body)", ["a"] if "$" in columns else None
    texts.execute(sql, values)
    assert [column[0] for column in texts.description] == names
    texts.execute(f"CREATE TABLE named AS {sql}", values)
    assert [row[0] for row in texts.execute("DESCRIBE named").fetchall()] == names


class TestResults:
    def test_every_way_of_fetching_gives_the_same(self, texts: Session) -> None:
        sql = "SELECT i, ai_gen(body) AS g FROM texts ORDER BY i"
        rows = [(i, f"<text {i % 3}>") for i in range(6)]
        assert texts.execute(sql).fetchall() == rows
        assert texts.execute(sql).fetchone() == rows[0]
        assert texts.execute(sql).fetchmany(2) == rows[:2]
        assert list(texts.execute(sql).df().itertuples(index=False, name=None)) == rows
        assert list(texts.sql(sql).df()["g"]) == [g for _, g in rows]
        assert texts.sql(sql).to_arrow_table().to_pylist()[5] == {"i": 5, "g": "<text 2>"}
        assert texts.sql(sql).pl().rows() == rows
        assert "<text 1>" in str(texts.sql(sql))
        assert len(texts.sql(sql)) == 6
        assert texts.sql(sql).shape == (6, 2)

    def test_relations_derive_and_ask_only_what_is_fetched(self, texts: Session, echo: EchoEngine) -> None:
        relation = texts.sql("SELECT i, ai_gen(body || i) AS g FROM texts").filter("i > 2").order("i").limit(2)
        assert echo.asked == []
        assert relation.fetchall() == [(3, "<text 03>"), (4, "<text 14>")]
        assert len(echo.asked) == 2

    def test_a_relation_is_found_by_its_variable(self, texts: Session) -> None:
        gists = texts.sql("SELECT ai_gen(body) AS g FROM texts")
        assert gists is not None
        assert texts.sql("SELECT count(DISTINCT g) FROM gists").fetchall() == [(3,)]

    def test_dataframes_in_the_callers_variables_are_found(self, con: Session) -> None:
        frame = pd.DataFrame({"body": ["a", None, "b"]})
        lazy = pl.DataFrame({"body": ["c"]})
        table = pa.table({"body": ["d"]})
        assert len(frame) + len(lazy) + len(table) == 5
        assert con.sql("SELECT ai_gen(body) FROM frame").fetchall() == [("<a>",), (None,), ("<b>",)]
        assert con.execute("SELECT ai_gen(body) FROM lazy").fetchall() == [("<c>",)]
        con.register("given", table)
        assert con.sql("SELECT ai_gen(body) FROM given").fetchall() == [("<d>",)]

    def test_a_pending_result_stays_while_other_statements_are_planned(self, con: Session) -> None:
        con.execute("SELECT * FROM range(3)")
        con.statements.plan("SELECT ai_gen('a'), another_word FROM nowhere")
        assert con.fetchall() == [(0,), (1,), (2,)]

    def test_what_describes_a_query_is_a_relation_and_asks_nothing(self, texts: Session, echo: EchoEngine) -> None:
        texts.execute("CREATE VIEW gists AS SELECT ai_gen(body) AS gist FROM texts")
        assert texts.sql("DESCRIBE gists").fetchall()[0][:2] == ("gist", "VARCHAR")
        assert "PROJECTION" in str(texts.sql("EXPLAIN SELECT ai_gen('x') FROM gists").fetchall()).upper()
        texts.sql("SELECT 1 AS i").project("ai_gen('never')").explain()
        assert echo.asked == []
        assert texts.sql("INSERT INTO texts SELECT 9, ai_gen('r') RETURNING body").fetchall() == [("<r>",)]

    def test_a_relation_keeps_its_session_open(self, registered: None) -> None:
        assert sqlinfer.connect(model="echo", udfs=[]).sql("SELECT 1").fetchall() == [(1,)]


class TestConnections:
    def test_cursors_have_the_functions_with_named_parameters(self, texts: Session, echo: EchoEngine) -> None:
        cursor = texts.cursor()
        rows = cursor.execute("SELECT summarize(body, max_words := 7) FROM texts WHERE i = 1").fetchall()
        assert rows == [("<text 1>",)]
        assert "7 words" in echo.asked[0].instruction
        cursor.close()

    def test_a_closed_session_leaves_the_others_their_functions(self, registered: None, tmp_path: Path) -> None:
        path = tmp_path / "x.duckdb"
        first, second = sqlinfer.connect(path, model="echo", udfs=[]), sqlinfer.connect(path, model="echo", udfs=[])
        second.runtime.open_engine = lambda version: EchoEngine()
        first.close()
        assert second.execute("SELECT ai_gen('a')").fetchall() == [("<a>",)]
        second.close()
        duckdb.connect(str(path)).close()

    def test_threads_ask_each_question_once(self, texts: Session, echo: EchoEngine) -> None:
        texts.execute("CREATE TABLE many AS SELECT 'q' || (i % 50) AS q FROM range(5000) r(i)")
        found: list[int] = []

        def work() -> None:
            with texts.cursor() as cursor:
                found.append(cursor.execute("SELECT count(DISTINCT ai_gen(q)) FROM many").fetchall()[0][0])

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [50] * 4
        assert sorted(echo.texts) == sorted(f"q{i}" for i in range(50))

    def test_direct_mode_on_a_plain_connection(self, registered: None, echo: EchoEngine) -> None:
        connection = duckdb.connect()
        with sqlinfer.register(connection, model="echo", udfs=[UDFS]) as registration:
            registration.runtime.open_engine = lambda version: echo
            connection.execute("CREATE TABLE t AS SELECT 'text ' || (i % 3) AS body FROM range(5000) r(i)")
            rows = connection.execute("SELECT count(DISTINCT main.ai_gen(body)) FROM t").fetchall()
            assert rows == [(3,)]
            assert len(echo.asked) == 3
            for spelling in ("body.summarize()", '"summarize"(body)', "ai_summarize(body, max_words => 3)"):
                assert connection.execute(f"SELECT DISTINCT {spelling} FROM t ORDER BY 1").fetchone() == ("<text 0>",)
        with pytest.raises(duckdb.Error):
            connection.execute("SELECT ai_gen('never asked before')").fetchall()
        connection.close()

    def test_answers_kept_by_one_session_are_known_to_the_next(self, registered: None) -> None:
        engines = [EchoEngine(), EchoEngine()]
        for engine in engines:
            with sqlinfer.connect(model="echo", udfs=[]) as session:
                session.runtime.open_engine = lambda version, engine=engine: engine
                session.execute("SELECT ai_gen('a')").fetchall()
        assert [len(engine.asked) for engine in engines] == [1, 0]

    def test_without_store_nothing_is_kept(self, registered: None) -> None:
        for _ in range(2):
            engine = EchoEngine()
            with sqlinfer.connect(model="echo", udfs=[], store=False) as session:
                session.runtime.open_engine = lambda version, engine=engine: engine
                session.execute("SELECT ai_gen('a')").fetchall()
            assert len(engine.asked) == 1

    def test_direct_mode_asks_a_failed_question_again_and_sees_new_versions(
        self, registered: None, echo: EchoEngine, home: Path, tmp_path: Path
    ) -> None:
        connection = duckdb.connect()
        with sqlinfer.register(connection, model="echo", udfs=[]) as registration:
            registration.runtime.open_engine = lambda version: echo
            for _ in range(2):
                with pytest.raises(duckdb.Error, match="boom"):
                    connection.execute("SELECT ai_gen('boom')").fetchall()
            asked = len(echo.asked)
            assert asked >= 2
            connection.execute("SELECT ai_gen('a')").fetchall()
            write_model(tmp_path / "new", weight=9.0)
            registration.runtime.store.registry.register("echo", str(tmp_path / "new"))
            connection.execute("SELECT ai_gen('a')").fetchall()
            assert len(echo.asked) == asked + 2
        connection.close()

    def test_sessions_threads_and_plain_connections_share_one_engine(self, echo_folder: Path, tmp_path: Path) -> None:
        first, second = (
            sqlinfer.connect(tmp_path / "1.duckdb", udfs=[]),
            sqlinfer.connect(tmp_path / "2.duckdb", udfs=[]),
        )
        plain = duckdb.connect()
        with first, second, plain, sqlinfer.register(plain, udfs=[]) as registration:
            runtimes = [first.runtime, first.cursor().runtime, second.runtime, registration.runtime]
            version = first.runtime.store.registry.get(str(echo_folder))
            engines = []

            def open_engine(runtime: Runtime) -> None:
                engines.append(runtime.open_engine(version))

            threads = [threading.Thread(target=open_engine, args=(runtime,)) for runtime in runtimes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(engines) == 4
            assert len({id(engine) for engine in engines}) == 1


class TestTexts:
    @pytest.mark.parametrize("text", ["é😀🇩🇪", "a" * 1_000_000, "'; DROP TABLE t; --", "a\x00b", "\n\ta "])
    def test_any_text_is_asked_as_it_is(self, text: str, con: Session, echo: EchoEngine) -> None:
        assert con.execute("SELECT ai_gen(?)", [text]).fetchall() == [(f"<{text}>",)]
        assert echo.texts == [text]

    def test_invalid_bytes_in_a_csv_are_duckdbs_error_or_skipped(self, con: Session, tmp_path: Path) -> None:
        path = tmp_path / "bad.csv"
        path.write_bytes(b"id,body\n1,good\n2,bad \xff\xfe bytes\n3,fine\n")
        with pytest.raises(duckdb.InvalidInputException, match=r"utf-8|unicode|Unicode"):
            con.execute(f"SELECT ai_gen(body) FROM read_csv('{path}')").fetchall()
        rows = con.execute(f"SELECT ai_gen(body) FROM read_csv('{path}', ignore_errors = true)").fetchall()
        assert rows == [("<good>",), ("<fine>",)]

    def test_names_of_functions_in_texts_and_comments_are_no_calls(self, con: Session, echo: EchoEngine) -> None:
        sql = "SELECT 'summarize(x)' AS a, $$ai_gen(y)$$ AS b -- ai_gen(z)\n/* summarize(w) */"
        assert con.execute(sql).fetchall() == [("summarize(x)", "ai_gen(y)")]
        assert con.execute("SUMMARIZE SELECT 1 AS i").fetchall()
        assert echo.asked == []


@pytest.mark.parametrize("method", ["sql", "execute"])
def test_of_several_statements_the_rows_of_the_last_are_given(con: Session, echo: EchoEngine, method: str) -> None:
    run = getattr(con, method)
    rows = run("SELECT ai_gen('a' || i) FROM range(5000) r(i); CREATE TABLE t AS SELECT 1 AS i; FROM t; SELECT 2")
    assert rows.fetchall() == [(2,)]
    assert len(echo.asked) == 5000
    assert con.sql("FROM t").fetchall() == [(1,)]


def test_models_run_one_after_another_in_a_statement_and_in_cursors(con: Session, tmp_path: Path) -> None:
    """So no two of them share the cores, and none needs a part of them."""
    write_model(tmp_path / "other", 2.0)
    con.runtime.store.registry.register("other", str(tmp_path / "other"))
    running: list[str] = []
    overlaps: list[list[str]] = []

    class Watched(EchoEngine):
        def generate(self, requests: Iterable[AnyRequest], cancel: Any = None) -> Iterator[Completion]:
            running.append("model")
            for completion in super().generate(requests, cancel):
                threading.Event().wait(0.01)
                overlaps.append(list(running))
                yield completion
            running.pop()

    con.runtime.open_engine = lambda version: Watched()
    sql = "SELECT ai_gen('{0}' || i), ai_gen('{0}' || i, model := 'other') FROM range(5) r(i)"
    cursors = [con.cursor() for _ in range(2)]
    threads = [
        threading.Thread(target=lambda c=cursor, word=word: c.sql(sql.format(word)).fetchall())
        for cursor, word in zip(cursors, ("one ", "two "), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert overlaps == [["model"]] * 20
