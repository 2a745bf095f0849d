"""`sqlinfer run` on the echo model."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest

from sqlinfer.store import Store
from tests.cli.conftest import Invoke, last_json
from tests.conftest import EchoEngine
from tests.slow_echo import start

Query = Callable[..., str]
KEYS = ["job", "rows", "requests", "known", "generated", "failed", "prompt_tokens", "completion_tokens", "seconds"]


def test_rows_of_a_query_are_a_table(invoke: Invoke, query: Query, echoing: EchoEngine) -> None:
    result = invoke("run", query("SELECT 1 AS i, ai_gen('a') AS g, NULL AS n, ['x', 'y'] AS l"), "--model", "echo")
    assert result.stdout == (
        "┌───┬─────┬──────┬────────┐\n"
        "│ i │ g   │ n    │ l      │\n"
        "├───┼─────┼──────┼────────┤\n"
        "│ 1 │ <a> │ NULL │ [x, y] │\n"
        "└───┴─────┴──────┴────────┘\n"
    )


def test_only_statements_with_rows_print(invoke: Invoke, query: Query, echoing: EchoEngine) -> None:
    sql = """CREATE TABLE t AS SELECT range AS i FROM range(3); INSERT INTO t VALUES (3); SET threads = 2;
             CREATE VIEW v AS FROM t; UPDATE t SET i = 9 WHERE i = 3; DELETE FROM t WHERE i = 9;
             BEGIN; COMMIT; SELECT count(*) AS n FROM v; INSERT INTO t VALUES (7) RETURNING i AS back; SHOW TABLES"""
    result = invoke("run", query(sql), "--format", "csv")
    assert result.stdout == "n\n3\n\nback\n7\n\nname\nt\nv\n"


def test_json_ends_with_one_object_of_counts(invoke: Invoke, query: Query, echoing: EchoEngine) -> None:
    file = query("SELECT ai_gen(x) FROM (VALUES ('a'), ('b'), ('a')) r(x)")
    first = last_json(invoke("run", file, "--model", "echo", "--json"))
    second = last_json(invoke("run", file, "--model", "echo", "--json"))
    assert list(first) == KEYS
    assert {**first, "seconds": 0} == {
        "job": 1, "rows": 3, "requests": 2, "known": 0, "generated": 2, "failed": 0,
        "prompt_tokens": 2, "completion_tokens": 2, "seconds": 0,
    }  # fmt: skip
    assert (second["job"], second["known"], second["generated"]) == (2, 2, 0)
    assert echoing.texts == ["a", "b"]


def test_a_run_is_one_job_however_many_statements(
    invoke: Invoke, query: Query, echoing: EchoEngine, home: Path
) -> None:
    first = query("CREATE TABLE t AS SELECT ai_gen('a') g; SELECT ai_gen(g) FROM t", "a.sql")
    second = query("SELECT ai_gen('b')", "b.sql")
    result = invoke("run", first, second, "--model", "echo", "--set", "x=1")
    assert "job 1: 3 rows, 3 requests: 0 known, 3 generated, 0 failed; " in result.stderr
    with Store(home) as store:
        (job,) = store.jobs.list()
    assert (job.state, job.rows, job.requests, job.models) == ("done", 3, 3, ("echo/1",))
    assert job.settings["settings"] == {"x": "1"}


def test_settings_are_variables(invoke: Invoke, query: Query) -> None:
    result = invoke("run", query("SELECT getvariable('who') AS who"), "--set", "who=it's = me", "--format", "csv")
    assert result.stdout == 'who\n"it\'s = me"\n'


def test_standard_input_is_a_file(invoke: Invoke) -> None:
    assert invoke("run", "-", "--format", "csv", input="SELECT 1 AS a; SELECT 2 AS b").stdout == "a\n1\n\nb\n2\n"


def test_sql_comes_from_the_command_line_too(invoke: Invoke, query: Query, echoing: EchoEngine) -> None:
    sql = "SELECT ai_gen('a') AS g"
    assert invoke("run", "-c", sql, "--model", "echo", "--format", "csv").stdout == "g\n<a>\n"
    assert "1 request: 1 known" in invoke("explain", "-c", sql, "--model", "echo").stdout
    failed = invoke("run", "-c", "SELECT ai_gen('boom')", "--model", "echo", code=1).stderr
    assert "-c, line 1: 1 request failed" in failed
    assert """sqlinfer run -c 'SELECT ai_gen('"'"'boom'"'"')' --retry-failed""" in failed
    assert "FILE and -c cannot be given together" in invoke("run", "-c", sql, query(sql), code=2).stderr


def test_csv_and_json_lines_hold_every_row(invoke: Invoke, query: Query) -> None:
    file = query("SELECT i, 'a,\"b' AS s, {'k': [i]} AS n, NULL AS z, DATE '2026-01-02' AS d FROM range(25000) t(i)")
    csv_lines = invoke("run", file, "--format", "csv").stdout.splitlines()
    assert (len(csv_lines), csv_lines[0]) == (25001, "i,s,n,z,d")
    assert csv_lines[-1] == '24999,"a,""b","{\'k\': [24999]}",NULL,2026-01-02'
    json_lines = invoke("run", file, "--format", "json").stdout.splitlines()
    assert json.loads(json_lines[-1]) == {"i": 24999, "s": 'a,"b', "n": {"k": [24999]}, "z": None, "d": "2026-01-02"}


VALUES = Path(__file__).with_name("values.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize(("format_", "option"), [("csv", "-csv"), ("json", "-jsonlines")])
@pytest.mark.parametrize("lossless", ["true", "false"])
def test_values_are_written_as_the_duckdb_program_writes_them(
    invoke: Invoke, duckdb_program: str, format_: str, option: str, lossless: str
) -> None:
    sql = f"SET arrow_lossless_conversion = {lossless};{VALUES}"
    command = [duckdb_program, "-init", "/dev/null", option, "-c", sql]
    expected = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = invoke("run", "-", "--format", format_, input=sql).stdout.splitlines()
    assert [line for line in lines if line] == [line for line in expected.splitlines() if line]


def test_a_table_tells_null_from_the_text_null(invoke: Invoke) -> None:
    assert "│ 'NULL' │ NULL │" in invoke("run", "-c", "SELECT 'NULL' AS t, NULL AS n").stdout


def test_a_table_is_as_wide_as_a_terminal_shows_it(invoke: Invoke) -> None:
    shown = invoke("run", "-c", "SELECT unnest(['👍🏽', '日本', 'abcd']) AS a").stdout
    assert shown == "┌──────┐\n│ a    │\n├──────┤\n│ 👍🏽   │\n│ 日本 │\n│ abcd │\n└──────┘\n"


def test_parquet_goes_to_a_pipe(invoke: Invoke, query: Query, tmp_path: Path) -> None:
    result = invoke("run", query("SELECT i, [i] AS l FROM range(3) t(i)"), "--format", "parquet")
    (tmp_path / "x.parquet").write_bytes(result.stdout_bytes)
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist()[-1] == {"i": 2, "l": [2]}
    several = invoke("run", query("SELECT 1; SELECT 2"), "--format", "parquet", code=1)
    assert "A Parquet file holds the rows of one query" in several.stderr


def test_a_table_shows_forty_rows_and_counts_all(invoke: Invoke, query: Query) -> None:
    lines = invoke("run", query("SELECT i FROM range(30000) t(i)")).stdout.splitlines()
    assert len(lines) == 45
    assert lines[-1] == "30,000 rows, the first 40 shown; --format csv or json prints all."


def test_a_table_of_many_columns_stays_readable(invoke: Invoke, query: Query) -> None:
    columns = ", ".join(f"'value {i}' AS c{i}" for i in range(30))
    result = invoke("run", query(f"SELECT {columns}"))
    assert "value 17" in result.stdout


def test_the_plan_of_explain_is_drawn_as_duckdb_draws_it(invoke: Invoke, query: Query, echoing: EchoEngine) -> None:
    lines = invoke("run", query("EXPLAIN SELECT ai_gen('x' || i) FROM range(3) r(i)")).stdout.splitlines()
    assert len(lines) > 4
    assert not any("\\n" in line for line in lines)
    assert echoing.asked == []


def test_a_table_holds_no_terminal_codes(invoke: Invoke, query: Query) -> None:
    result = invoke("run", query("SELECT chr(27) || '[2J' || chr(10) || 'é😀' AS t"))
    assert "\\x1b[2J\\né😀" in result.stdout
    assert "\x1b" not in result.stdout


def test_no_store_keeps_no_answer(invoke: Invoke, query: Query, echoing: EchoEngine) -> None:
    file = query("SELECT ai_gen('a')")
    for _ in range(2):
        counts = last_json(invoke("run", file, "--model", "echo", "--json", "--no-store"))
        assert counts["generated"] == 1
    assert json.loads(invoke("answers", "stats", "--json").stdout)["answers"] == 0


def test_own_functions_lie_beside_the_query_here_or_in_the_project(
    invoke: Invoke, query: Query, echoing: EchoEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, name in ((tmp_path, "beside"), (Path.cwd(), "here")):
        (folder / "udfs").mkdir()
        source = (
            f"from sqlinfer import Request\n\n\ndef {name}(t: str) -> Request:\n    'Ask.'\n    return Request(t)\n"
        )
        (folder / "udfs" / f"{name}.py").write_text(source)
    result = invoke("run", query("SELECT beside('a') AS a, here('b') AS b"), "--model", "echo", "--format", "csv")
    assert result.stdout == "a,b\n<a>,<b>\n"


def test_model_statements_and_bare_summarize_work(
    invoke: Invoke, query: Query, echoing: EchoEngine, echo_folder: Path
) -> None:
    sql = f"CREATE MODEL short FROM '{echo_folder}'; SHOW MODELS; SELECT summarize('a', model := 'short') AS s"
    result = invoke("run", query(sql), "--format", "csv")
    assert "short,1,,auto," in result.stdout
    assert result.stdout.endswith("\n\ns\n<a>\n")


def test_a_query_without_ai_runs_once_and_counts_no_rows(invoke: Invoke, query: Query) -> None:
    sql = "CREATE SEQUENCE s; SELECT nextval('s') AS n; SELECT nextval('s') AS n"
    result = invoke("run", query(sql), "--format", "csv", "--json")
    assert result.stdout.startswith("n\n1\n\nn\n2\n")
    assert last_json(result)["rows"] == 0


def test_failed_rows_end_the_run_after_all_others(invoke: Invoke, query: Query, echoing: EchoEngine) -> None:
    file = query("SELECT ai_gen(x) FROM (VALUES ('a'), ('boom'), ('b')) r(x)")
    result = invoke("run", file, "--model", "echo", code=1)
    assert "1 requests" not in result.stderr
    assert "3 requests: 0 known, 2 generated, 1 failed" in result.stderr
    assert "query.sql, line 1: 1 request failed; all other answers are kept." in result.stderr
    assert "on_error := 'null'" in result.stderr
    errors = json.loads(invoke("jobs", "errors", "1", "--json").stdout)
    assert [(e["function"], e["model"], e["excerpt"]) for e in errors] == [("ai_gen", "echo/1", "boom")]


def test_who_answers_is_said_when_nobody_was_named(
    invoke: Invoke, query: Query, echoing: EchoEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def said(*words: str) -> str:
        caplog.clear()
        invoke("run", *words)
        return caplog.text

    assert said(query("SELECT ai_gen('a'); SELECT ai_gen('b')")).count("No model given; using sqlinfer/tiny") == 1
    assert not said(query("SELECT ai_gen('a')"), "--model", "sqlinfer/tiny")
    assert not said(query("SELECT ai_query('sqlinfer/tiny', 'a')"))
    assert not said(query("SELECT ai_gen('a')"), "--model", "echo")
    invoke("models", "default", "sqlinfer/tiny")
    assert not said(query("SELECT ai_gen('a')"))


def test_the_word_about_a_built_in_model_is_one_line_on_stderr(query: Query) -> None:
    run = start("run", query("SELECT ai_count_tokens('a lamp') AS n"))
    (line,) = [line for line in run.communicate()[1].splitlines() if "No model given" in line]
    assert line.startswith("No model given; using sqlinfer/tiny")
    assert "--model NAME" in line
    assert "sqlinfer models default NAME" in line


def test_texts_of_every_kind_pass(invoke: Invoke, query: Query, echoing: EchoEngine, tmp_path: Path) -> None:
    sql = """SELECT length(ai_gen(x)) AS n FROM (VALUES (NULL), (''), (repeat('é', 1000000)), ('😀')) r(x)"""
    result = invoke("run", query(sql), "--model", "echo", "--format", "csv")
    assert result.stdout.splitlines() == ["n", "NULL", "NULL", "1000002", "3"]
    (tmp_path / "bytes.csv").write_bytes(b"t\nfine\nbad \xff byte\n")
    file = query(f"SELECT ai_gen(t) FROM read_csv('{tmp_path / 'bytes.csv'}', header = true)")
    assert "utf-8" in invoke("run", file, "--model", "echo", code=1).stderr.lower()


def test_a_limit_behind_a_condition_stops_early(invoke: Invoke, query: Query, echoing: EchoEngine) -> None:
    folder = Path("udfs")
    folder.mkdir()
    (folder / "is_angry.py").write_text((Path(__file__).parents[1] / "sql" / "udfs" / "is_angry.py").read_text())
    sql = "CREATE TABLE t AS SELECT i, 'angry ' || i AS s FROM range(100000) r(i);"
    sql += "SELECT i FROM t WHERE is_angry(s) LIMIT 3"
    result = invoke("run", query(sql), "--model", "echo", "--format", "csv")
    assert result.stdout == "i\n0\n1\n2\n"
    assert len(echoing.asked) < 10000


def test_the_duckdb_program_reads_what_a_run_made(
    invoke: Invoke, query: Query, echoing: EchoEngine, tmp_path: Path, duckdb_program: str
) -> None:
    database = tmp_path / "t.duckdb"
    invoke("run", query("CREATE TABLE t AS SELECT ai_gen('a') AS g"), "--db", str(database), "--model", "echo")
    command = [duckdb_program, database, "-list", "-noheader", "-c", "FROM t"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "<a>\n"
