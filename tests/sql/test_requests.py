"""What a function asks reaches the engine whole, in all phases and in direct mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

import sqlinfer
from sqlinfer.errors import ModelNotFound, RequestsFailed
from sqlinfer.functions.call_options import Options
from sqlinfer.inference.keyed_request import Route
from sqlinfer.inference.request_spool import RequestSpool
from sqlinfer.sql import Session
from sqlinfer.types import Choose, Classify, CountTokens, Embed, Generate, Parameters, SplitText
from tests.conftest import EchoEngine

REQUESTS = (
    Generate("a", key=b"1"),
    Choose("a", ("x", "\U0001f389 'y'\n", "\ud800"), key=b"2"),
    Choose("a", ("x",), query="q", key=b"3"),
    Generate("b", schema='{"type": "object"}', key=b"4"),
    Generate("b", "i", "summarize", "truncate", parameters=Parameters(stop=("s",), seed=1), key=b"5"),
    Embed("c", "truncate", key=b"6"),
    Classify("c", key=b"7"),
    CountTokens("c", key=b"8"),
    SplitText("c", "i", key=b"9"),
)


@pytest.fixture
def spool() -> Iterator[RequestSpool]:
    with closing(RequestSpool()) as opened:
        yield opened


def test_spooled_requests_come_back_as_they_were(spool: RequestSpool, con: Session) -> None:
    function = con.runtime.functions["ai_gen"]
    route = Route(function, con.evaluator.statement.route(function, None, "generate").version)
    spool.add(replace(request, route=route) for request in REQUESTS)
    back = [(request, request.key) for request in spool.requests([route])]
    assert sorted(back, key=lambda pair: pair[1]) == [(request, request.key) for request in REQUESTS]


def test_choices_and_schema_reach_the_engine(con: Session, echo: EchoEngine) -> None:
    con.execute("SELECT ai_filter('angry', 'x'), ai_extract('t', ['a'])").fetchall()
    asked = {request.text: request for request in echo.asked}
    assert asked["angry"].choices == ("yes", "no")
    assert '"a"' in asked["t"].schema


def test_other_choices_are_another_question(con: Session, echo: EchoEngine) -> None:
    rows = "SELECT ai_classify(text, labels) FROM (VALUES ('a', ['a', 'b']), ('a', ['b', 'a'])) v(text, labels)"
    con.execute(rows).fetchall()
    assert {request.choices for request in echo.asked} == {("a", "b"), ("b", "a")}


def test_a_session_shows_the_progress_of_its_jobs_where_a_job_brings_none(con: Session, echo: EchoEngine) -> None:
    own, brought = list[int](), list[int]()
    with sqlinfer.connect(model="echo", show_progress=lambda counts: own.append(counts.generated)) as session:
        session.runtime.open_engine = lambda version: echo
        session.execute("SELECT ai_gen('text ' || i) FROM range(2) r(i)")
        with session.job("another", show_progress=lambda counts: brought.append(counts.generated)):
            session.execute("SELECT ai_gen('other ' || i) FROM range(3) r(i)")
    assert (own, brought) == ([1, 2], [1, 2, 3])


def test_a_sessions_defaults_hold_for_calls_that_say_nothing_else(con: Session, echo: EchoEngine) -> None:
    with con.evaluator.using(defaults=Options(on_error="null")):
        assert con.execute("SELECT ai_gen('boom')").fetchall() == [(None,)]
        with pytest.raises(RequestsFailed):
            con.execute("SELECT ai_gen('boom', on_error := 'fail')")
    with con.evaluator.using(defaults=Options(model="nobody")):
        with pytest.raises(ModelNotFound, match="nobody"):
            con.execute("SELECT ai_gen('new')")
        assert con.execute("SELECT ai_gen('new', model := 'echo')").fetchall() == [("<new>",)]


def test_a_blank_text_is_null_and_no_request(con: Session, echo: EchoEngine) -> None:
    blanks = "(VALUES (''), ('   '), (E'\\n\\t'), (NULL)) v(x)"
    calls = ("ai_gen(x)", "ai_sentiment(x)", "ai_classify(x, ['a', 'b'])", "ai_filter(x, 'is it?')", "ai_embed(x)")
    for call in calls:
        assert con.sql(f"SELECT {call} FROM {blanks}").fetchall() == [(None,)] * 4, call
    assert echo.asked == []
