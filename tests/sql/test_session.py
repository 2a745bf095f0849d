"""A session behaves as DuckDB's connection, and its errors say what to do."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import sqlinfer
from sqlinfer.errors import Interrupted, ModelNotFound, RequestsFailed, SqlinferError
from sqlinfer.sql import Session
from sqlinfer.sql.runtime import Runtime
from tests.conftest import EchoEngine, write_model
from tests.sql.conftest import UDFS


@pytest.fixture
def texts(con: Session) -> Session:
    con.execute("CREATE TABLE texts AS SELECT i, 'text ' || (i % 3) AS body FROM range(6) r(i)")
    return con


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
        con.plan("SELECT ai_gen('a'), another_word FROM nowhere")
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


class TestParameters:
    def test_parameters_may_be_columns(self, con: Session, echo: EchoEngine) -> None:
        con.execute(
            "CREATE TABLE t AS SELECT * FROM (VALUES ('a', 3, 0.5), ('a', 4, 0.5), ('a', 3, NULL)) v(s, n, temp)"
        )
        con.execute("SELECT ai_gen(s, max_tokens := n, temperature := temp) FROM t").fetchall()
        asked = {(r.parameters.max_tokens, r.parameters.temperature) for r in echo.asked}
        assert asked == {(3, 0.5), (4, 0.5), (3, None)}

    def test_stop_is_a_text_or_a_list(self, con: Session, echo: EchoEngine) -> None:
        con.execute("SELECT ai_gen('a', stop := '.'), ai_gen('a', stop := ['.', ';'])").fetchall()
        assert [r.parameters.stop for r in echo.asked] == [(".",), (".", ";")]

    def test_other_parameters_are_other_questions(self, con: Session, echo: EchoEngine) -> None:
        for seed in (1, 2, 2):
            con.execute("SELECT ai_gen('a', temperature := 1, seed := ?)", [seed]).fetchall()
        assert len(echo.asked) == 2

    def test_numbers_and_dates_are_texts(self, con: Session, echo: EchoEngine) -> None:
        con.execute("SELECT ai_gen(42), ai_gen(DATE '2020-01-02'), ai_gen([1, 2])").fetchall()
        assert set(echo.texts) == {"42", "2020-01-02", "[1, 2]"}

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            ("ai_gen(body, temprature := 1)", ["no parameter temprature", "Did you mean temperature?"]),
            ("ai_gen(body, temperature := 'warm')", ["temperature must be a number", "'warm'"]),
            ("ai_gen(body, max_tokens := 0)", ["max_tokens must be a whole number of at least 1", "0"]),
            ("ai_gen(body, on_error := 'ignore')", ["on_error must be 'fail' or 'null'", "'ignore'"]),
            ("ai_gen(body, stop := 3)", ["stop must be a text or a list of texts", "3"]),
            (
                "summarize(body, overflow := 'cut')",
                ["overflow must be 'truncate' or 'hierarchical' or 'error'", "'cut'"],
            ),
            ("summarize(body, max_words := 'few')", ["max_words must be a whole number", "'few'"]),
            ("ai_gen(body, model := 'eco')", ["'eco'", "Did you mean echo?", "sqlinfer models register"]),
            ("ai_query('echo@best', body)", ["best", "echo"]),
        ],
    )
    def test_a_wrong_parameter_is_named_before_anything_is_asked(
        self, call: str, says: list[str], texts: Session, echo: EchoEngine
    ) -> None:
        with pytest.raises(SqlinferError) as raised:
            texts.execute(f"SELECT {call} FROM texts").fetchall()
        assert all(part in str(raised.value) for part in says), str(raised.value)
        assert echo.asked == []


class TestErrors:
    def test_duckdbs_own_errors_stay_its_own(self, texts: Session, echo: EchoEngine) -> None:
        with pytest.raises(duckdb.ParserException, match='syntax error at or near "SELEC"'):
            texts.execute("SELEC ai_gen(body) FROM texts")
        with pytest.raises(duckdb.BinderException) as raised:
            texts.execute("SELECT ai_gen(bodi) FROM texts")
        lines = str(raised.value).split("\n")
        assert lines[-2] == "LINE 1: SELECT ai_gen(bodi) FROM texts"
        assert lines[-1].index("^") == lines[-2].index("bodi")
        with pytest.raises(duckdb.IOException, match="missing"):
            texts.execute("SELECT ai_gen(body) FROM 'missing.csv'")
        assert echo.asked == []

    def test_a_table_that_exists_is_refused_before_anything_is_asked(self, texts: Session, echo: EchoEngine) -> None:
        with pytest.raises(SqlinferError, match="CREATE OR REPLACE TABLE texts"):
            texts.execute("CREATE TABLE texts AS SELECT ai_gen('a') AS g")
        texts.execute("CREATE TABLE IF NOT EXISTS texts AS SELECT 1 AS g, ai_count_tokens('a b') AS n")
        assert all(request.task == "count_tokens" for request in echo.asked)

    def test_a_failed_row_fails_the_statement_after_all_others_are_kept(self, texts: Session, echo: EchoEngine) -> None:
        texts.execute("INSERT INTO texts VALUES (9, 'boom'), (10, 'last')")
        with pytest.raises(RequestsFailed, match=r"(?s)1 request failed.*'boom'.*on_error := 'null'"):
            texts.execute("CREATE TABLE out AS SELECT ai_gen(body) AS g FROM texts")
        assert len(echo.asked) == 5
        assert texts.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'out'").fetchone() == (0,)
        assert texts.execute("SELECT ai_gen(body) FROM texts WHERE i = 10").fetchall() == [("<last>",)]
        assert len(echo.asked) == 5

    def test_a_failed_row_is_NULL_with_a_recorded_error_if_so_wanted(self, texts: Session, echo: EchoEngine) -> None:
        texts.execute("INSERT INTO texts VALUES (9, 'boom')")
        rows = texts.execute("SELECT ai_gen(body, on_error := 'null') FROM texts WHERE i > 4 ORDER BY i").fetchall()
        assert rows == [("<text 2>",), (None,)]
        errors = texts.runtime.store.jobs.errors(texts.answerer.last_job_id or 0)
        assert [(error.excerpt, error.function) for error in errors] == [("boom", "ai_gen")]

    def test_a_filter_that_failed_lets_no_row_through(self, texts: Session) -> None:
        texts.execute("INSERT INTO texts VALUES (9, 'angry boom'), (10, 'angry')")
        for condition, ids in (("is_angry", [10]), ("NOT is_angry", [0, 1, 2, 3, 4, 5])):
            sql = f"SELECT i FROM texts WHERE {condition}(body, on_error := 'null') ORDER BY i"
            assert [i for (i,) in texts.execute(sql).fetchall()] == ids

    def test_interrupt_keeps_answers_and_the_next_run_goes_on(self, texts: Session) -> None:
        texts.execute("CREATE TABLE many AS SELECT 'q' || i AS q FROM range(100) r(i)")
        engine = EchoEngine(lambda request: (texts.interrupt() if request.text == "q40" else None, request.text)[1])
        texts.runtime.open_engine = lambda version: engine
        with pytest.raises(Interrupted, match="every finished answer is kept"):
            texts.execute("SELECT ai_gen(q) FROM many")
        before = len(engine.asked)
        assert 0 < before < 100
        texts.execute("SELECT ai_gen(q) FROM many").fetchall()
        assert len(engine.asked) == 100
        states = [job.state for job in texts.runtime.store.jobs.list(2)]
        assert states == ["done", "interrupted"]

    def test_an_error_in_the_users_own_function_names_its_file(
        self, registered: None, echo: EchoEngine, tmp_path: Path
    ) -> None:
        header = "from sqlinfer import Request\n\n\n"
        (tmp_path / "broken.py").write_text(
            header + 'def broken(text: str) -> Request:\n    """Break."""\n    return text.nope()\n'
        )
        (tmp_path / "number.py").write_text(
            header + 'def number(text: str) -> Request:\n    """Read a number."""\n    return Request(text)\n\n\n'
            "def read(answer: str) -> int:\n    return int(answer.strip('<>'))\n"
        )
        with sqlinfer.connect(model="echo", udfs=[tmp_path]) as session:
            session.runtime.open_engine = lambda version: echo
            with pytest.raises(SqlinferError, match=r"broken\.py: broken failed on .*'a'.*nope"):
                session.execute("SELECT broken('a')")
            session.execute("CREATE TABLE t AS SELECT unnest(['7', 'seven']) AS x")
            with pytest.raises(RequestsFailed, match=r"number\.py cannot use the answer '<seven>'"):
                session.execute("SELECT number(x) FROM t").fetchall()
            rows = session.execute("SELECT number(x, on_error := 'null') FROM t ORDER BY x").fetchall()
            assert rows == [(7,), (None,)]


class TestModels:
    def test_models_are_made_shown_and_dropped_in_SQL(self, con: Session, tmp_path: Path) -> None:
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

    def test_a_model_statement_that_does_not_parse_shows_the_forms(self, con: Session) -> None:
        for sql in ("CREATE MODEL m", "CREATE MODEL m FROM x", "ALTER MODEL m SET ALIAS a", "SHOW MODELS m"):
            with pytest.raises(SqlinferError, match="CREATE \\[OR REPLACE\\] MODEL name FROM"):
                con.execute(sql)

    def test_other_weights_under_a_name_are_asked_anew(self, con: Session, echo: EchoEngine, tmp_path: Path) -> None:
        for weight in (5.0, 6.0):
            write_model(tmp_path / str(weight), weight)
            con.execute(f"CREATE OR REPLACE MODEL m FROM '{tmp_path / str(weight)}'")
            con.execute("SELECT ai_query('m', 'a')").fetchall()
        assert len(echo.asked) == 2


class TestTexts:
    @pytest.mark.parametrize("text", ["", "é😀🇩🇪", "a" * 1_000_000, "'; DROP TABLE t; --", "a\x00b", "\n\t "])
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
