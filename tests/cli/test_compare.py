"""`sqlinfer models compare`: the same SQL with two versions of one name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sqlinfer.store import Store
from sqlinfer.types import AnyRequest, Choose, ModelVersion, Probabilities
from tests.cli.conftest import Invoke, last_json
from tests.conftest import EchoEngine, write_model

ROWS = "(VALUES (1, 'good'), (2, 'bad'), (3, 'boom'), (4, 'so so')) r(id, body)"
Query = Callable[..., str]


def _answer(version: ModelVersion, request: AnyRequest) -> Any:
    """Version 1 says of every text that it is bad, version 2 finds the label in it; texts begin with the version."""
    if isinstance(request, Choose):
        best = "bad" if version.version == 1 else next((c for c in request.choices if c in request.text), "bad")
        return Probabilities({choice: 0.9 if choice == best else 0.1 for choice in request.choices})
    return f"{version.version} {request.text}"


@pytest.fixture
def news(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two versions of `news`, the second as @candidate; which version answered each request."""
    with Store(home) as store:
        for version in (1, 2):
            write_model(tmp_path / str(version), version)
            store.registry.register("news", str(tmp_path / str(version)))
        store.registry.deploy("news", 1)
        store.registry.set_alias("news", "candidate", 2)
    asked: list[str] = []

    def open_engine(version: ModelVersion) -> EchoEngine:
        def answer(request: AnyRequest) -> Any:
            asked.append(str(version))
            return _answer(version, request)

        return EchoEngine(answer)

    monkeypatch.setattr("sqlinfer.inference.runtime.open_engine", open_engine)
    return asked


CALLS = ["ai_gen(body)", "ai_query('news', body)", "ai_gen(body, model := 'news')"]


@pytest.mark.parametrize("call", CALLS)
def test_each_version_answers_the_same_query_once(
    news: list[str], invoke: Invoke, query: Query, home: Path, call: str
) -> None:
    file = query(f"SELECT id, {call} AS answer FROM {ROWS} WHERE id <> 3 ORDER BY id")
    compared = last_json(invoke("models", "compare", "news", "news@candidate", file, "--json"))
    assert [compared[run]["model"] for run in ("first", "second")] == ["news/1", "news/2"]
    assert sorted(news) == ["news/1"] * 3 + ["news/2"] * 3
    assert compared["same"] == ["id"]
    (column,) = compared["columns"]
    assert (column["column"], column["agreement"]["equal"], column["agreement"]["rows"]) == ("answer", 0, 3)
    again = last_json(invoke("models", "compare", "news", "news@candidate", file, "--json"))
    assert [again[run]["known"] for run in ("first", "second")] == [3, 3]
    assert len(news) == 6
    with Store(home) as store:
        assert len(store.comparisons.list()) == 2
    invoke("answers", "clear", "--yes")
    with Store(home) as store:
        assert store.comparisons.list() == []


def test_labels_have_a_confusion_and_an_accuracy_against_the_reference(
    news: list[str], invoke: Invoke, query: Query
) -> None:
    rows = (
        "(VALUES (1, 'good', 'good'), (2, 'bad', 'bad'), (3, 'good too', 'bad'), (4, 'good', NULL)) r(id, body, label)"
    )
    file = query(f"SELECT id, label, ai_classify(body, ['good', 'bad']) AS mood FROM {rows}")
    words = ("models", "compare", "news/1", "news/2", file, "--reference", "LABEL", "--key", "id")
    compared = last_json(invoke(*words, "--json"))
    (column,) = compared["columns"]
    assert column["agreement"]["confusion"] == [["bad", "good", 3], ["bad", "bad", 1]]
    assert [column[run]["rows"] for run in ("first", "second")] == [3, 3]
    assert [round(column[run]["equal"], 2) for run in ("first", "second")] == [0.67, 0.67]
    shown = invoke(*words).stdout
    assert "4 rows matched by id" in shown
    assert "│ bad    │ good   │    3 │" in shown


def test_rows_that_one_version_filters_out_are_counted_and_never_matched_by_position(
    news: list[str], invoke: Invoke, query: Query
) -> None:
    file = query(f"SELECT id, body FROM {ROWS} WHERE id <> 3 AND ai_classify(body, ['good', 'bad']) = 'bad'")
    failed = invoke("models", "compare", "news/1", "news/2", file, code=1).stderr
    assert "3 rows with news/1 and 2 with news/2" in failed
    assert "--key COLUMN. Columns: id, body" in failed
    compared = last_json(invoke("models", "compare", "news/1", "news/2", file, "--key", "id", "--json"))
    assert [compared["rows"], *(compared[run]["unmatched"] for run in ("first", "second"))] == [2, 1, 0]
    assert (compared["same"], compared["columns"]) == (["body"], [])


def test_a_failed_row_is_counted_and_costs_no_other(news: list[str], invoke: Invoke, query: Query) -> None:
    compared = last_json(
        invoke("models", "compare", "news/1", "news/2", query(f"SELECT ai_gen(body) FROM {ROWS}"), "--json")
    )
    assert [compared[run]["failed"] for run in ("first", "second")] == [1, 1]
    assert (compared["rows"], compared["columns"][0]["agreement"]["rows"]) == (4, 3)


def test_columns_of_one_name_and_fields_of_structs_are_columns_of_their_own(
    news: list[str], invoke: Invoke, query: Query
) -> None:
    file = query(f"SELECT {{a: ai_gen(body), b: {{c: 'nan'::DOUBLE}}}} AS s, id AS x, ai_gen(body) AS x FROM {ROWS}")
    compared = last_json(invoke("models", "compare", "news/1", "news/2", file, "--json"))
    assert [column["column"] for column in compared["columns"]] == ["s.a", "x_1"]
    assert compared["same"] == ["s.b.c", "x"]


LAST = ["CREATE TABLE t AS {}", "INSERT INTO old (body) {}", "COPY ({}) TO 'new.csv'", "CREATE VIEW v AS {}; FROM v"]


def test_the_select_of_the_last_statement_is_compared_and_nothing_is_written(
    news: list[str], invoke: Invoke, query: Query
) -> None:
    invoke("run", "-c", "CREATE TABLE old AS SELECT 'a' AS body", "--db", "x.duckdb")
    for last in LAST:
        file = query("COPY old TO 'early.csv'; " + last.format("SELECT ai_gen(body) AS body FROM old"))
        compared = last_json(invoke("models", "compare", "news/1", "news/2", file, "--db", "x.duckdb", "--json"))
        assert compared["columns"][0]["column"] == "body"
    assert not [*Path().glob("*.csv")]
    shown = invoke("run", "-c", "SELECT count(*) FROM duckdb_tables(); FROM old", "--db", "x.duckdb", "--format", "csv")
    assert shown.stdout.split() == ["count_star()", "1", "body", "a"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["news", "news/1"], "are the same version, news/1"),
        (["news", "news@candidat"], "Did you mean candidate"),
        (["news/1", "news/2", "--key", "ident"], "no column 'ident'. Known: answer, id, twice"),
        (["news/1", "news/2", "--column", "answr"], "Did you mean answer"),
        (["news/1", "news/2", "--reference", "wrong"], "no column 'wrong'"),
        (["news/1", "news/2", "--key", "twice"], "--key twice is 1 in several rows with news/1"),
    ],
)
def test_what_cannot_be_compared_is_named(
    news: list[str], invoke: Invoke, query: Query, words: list[str], message: str
) -> None:
    file = query(f"SELECT id, 1 AS twice, ai_gen(body) AS answer FROM {ROWS}")
    assert message in invoke("models", "compare", *words[:2], file, *words[2:], code=1).stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (f"SELECT id FROM {ROWS}", "does not use news/1"),
        (f"SELECT ai_query('news/2', body) FROM {ROWS}", "no call names 'news' or leaves"),
        ("SET sqlinfer_max_retries = 1", "must have one SELECT"),
    ],
)
def test_sql_that_asks_neither_version_is_refused(
    news: list[str], invoke: Invoke, query: Query, sql: str, message: str
) -> None:
    assert message in invoke("models", "compare", "news/1", "news/2", query(sql), code=1).stderr.replace("\n", " ")
