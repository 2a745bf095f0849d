"""A row that comes again in a statement costs no look-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sqlinfer.errors import RequestsFailed
from sqlinfer.sql import Session
from sqlinfer.store import AnswerCache
from tests.conftest import EchoEngine

MANY = "FROM (SELECT 'text ' || (i % 3) AS body, i % 3 AS n FROM range(9000) r(i))"


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The keys that are looked up in the cache."""
    keys: list[bytes] = []
    for name in ("texts", "completions"):
        look_up = getattr(AnswerCache, name)

        def noted(cache: AnswerCache, wanted: Any, look_up: Callable[..., Any] = look_up) -> Any:
            keys.extend(wanted)
            return look_up(cache, wanted)

        monkeypatch.setattr(AnswerCache, name, noted)
    return keys


@pytest.mark.parametrize("call", ["ai_gen(body)", "ai_score(body, 'good')", "is_angry(body)"])
def test_a_cached_row_is_looked_up_once_in_a_statement(
    con: Session, echo: EchoEngine, looked_up: list[bytes], call: str
) -> None:
    con.execute(f"SELECT {call} {MANY}")
    looked_up.clear()
    con.execute(f"SELECT count({call}) {MANY}")
    assert con.fetchall() == [(9000,)]
    assert len(looked_up) == len(set(looked_up)) == 3
    assert len(echo.asked) == 3


def test_what_a_probe_has_looked_up_is_not_looked_up_again(con: Session, looked_up: list[bytes]) -> None:
    distinct = "FROM (SELECT 'text ' || i AS body FROM range(15000) r(i))"
    con.execute(f"SELECT ai_gen(body) {distinct}")
    looked_up.clear()
    con.execute(f"SELECT count(ai_gen(body)) {distinct}")
    assert con.fetchall() == [(15000,)]
    assert len(looked_up) == len(set(looked_up)) == 15000


def test_values_that_do_not_fit_are_right_too(con: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlinfer.sql.udf.value_memo._MOST_BYTES", 100_000)
    rows = con.execute("SELECT body, ai_gen(body) FROM (SELECT 'text ' || i AS body FROM range(3000) r(i))").fetchall()
    assert all(answer == f"<{body}>" for body, answer in rows)


def test_an_open_row_is_looked_up_once_in_a_probe(con: Session, looked_up: list[bytes]) -> None:
    con.execute(f"SELECT ai_gen(body) {MANY}")
    assert len(looked_up) < 30  # in each of two probes, as it is computed, and not in each of five chunks


def test_equal_values_of_other_types_are_other_rows(con: Session) -> None:
    rows = con.sql(f"SELECT DISTINCT ai_gen(body), ai_gen(n), ai_gen(n::DOUBLE) {MANY} ORDER BY ALL").fetchall()
    assert rows == [(f"<text {n}>", f"<{n}>", f"<{n}.0>") for n in range(3)]


def test_a_failed_row_fails_in_every_chunk(con: Session) -> None:
    failing = "FROM (SELECT CASE WHEN i % 3000 = 7 THEN 'boom' ELSE 'fine' END AS body FROM range(9000) r(i))"
    with pytest.raises(RequestsFailed):
        con.execute(f"SELECT ai_gen(body) {failing}").fetchall()
    assert con.execute(f"SELECT count(ai_gen(body, on_error := 'null')) {failing}").fetchall() == [(8997,)]


def test_a_later_statement_sees_what_changed(con: Session) -> None:
    assert con.execute("SELECT ai_gen('a')").fetchall() == [("<a>",)]
    con.runtime.store.answers.clear()
    con.runtime.open_engine = lambda version: EchoEngine(lambda request: "other")
    assert con.execute("SELECT ai_gen('a')").fetchall() == [("other",)]
