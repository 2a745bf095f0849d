"""Budgets: a job asks, reads, writes and takes no more than it may, keeps its answers, and says how to go on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sqlinfer.backends import TRANSFORMERS
from sqlinfer.errors import StoppedEarly
from sqlinfer.sql import Session
from sqlinfer.sql.explain.explain import explain
from sqlinfer.types import Request
from tests.conftest import EchoEngine

ROWS = "SELECT ai_gen('{}' || i) FROM range({}) r(i)"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The echo model has no tokenizer: its prompts have as many tokens as characters."""
    monkeypatch.setattr(
        "sqlinfer.backends.BACKENDS",
        {"": replace(TRANSFORMERS, count_prompt_tokens=lambda _, requests: [len(r.text) for r in requests])},
    )


def test_requests_are_refused_before_any_is_asked(con: Session, echo: EchoEngine) -> None:
    con.execute("SET sqlinfer_max_requests = 9")
    with pytest.raises(StoppedEarly, match=r"10 requests, and max_requests is 9.*--max-requests.*SET sqlinfer_max_req"):
        con.execute(ROWS.format("x", 10))
    assert echo.asked == []


def test_what_is_known_costs_no_budget(con: Session, echo: EchoEngine) -> None:
    con.execute(ROWS.format("x", 10))
    con.execute("SET sqlinfer_max_requests = 5")
    assert len(con.execute(ROWS.format("x", 15)).fetchall()) == 15
    assert len(echo.asked) == 15


def test_answers_of_the_rounds_before_the_bound_are_kept(con: Session, echo: EchoEngine) -> None:
    nested = "SELECT ai_gen(ai_gen('x' || i)) FROM range(6) r(i)"
    con.execute("SET sqlinfer_max_requests = 10")
    with pytest.raises(StoppedEarly, match="6 requests after 6, and max_requests is 10"):
        con.execute(nested)
    con.execute("SET sqlinfer_max_requests = -1")
    con.execute(nested)
    assert len(echo.asked) == 12


def test_a_statement_that_stops_early_asks_no_more_than_it_may(con: Session, echo: EchoEngine) -> None:
    con.execute("SET sqlinfer_max_requests = 5")
    with pytest.raises(StoppedEarly, match=r"stopped at its budget: max_requests is 5"):
        con.execute("SELECT ai_gen('x' || i) AS g FROM range(100) r(i) WHERE ai_gen('y' || i) = 'never' LIMIT 1")
    assert len(echo.asked) == 5


def test_prompt_tokens_are_counted_on_a_sample_before(con: Session, echo: EchoEngine, counted: None) -> None:
    con.execute("SET sqlinfer_max_prompt_tokens = 2999")
    with pytest.raises(StoppedEarly, match=r"3,000 prompt tokens, and max_prompt_tokens is 2,999"):
        con.execute("SELECT ai_gen('text ' || (1000 + i) || 'x') FROM range(300) r(i)")
    assert echo.asked == []


def test_completion_tokens_stop_the_job_while_it_runs(con: Session, echo: EchoEngine) -> None:
    con.runtime.open_engine = lambda version: _Wordy()
    con.execute("SET sqlinfer_max_completion_tokens = 50")
    with pytest.raises(StoppedEarly, match=r"has used 60 completion tokens. 6 new answers are kept, .* 4 requests"):
        con.execute(ROWS.format("x", 10))
    con.execute("SET sqlinfer_max_completion_tokens = -1")
    con.execute(ROWS.format("x", 10))
    job, before = con.runtime.store.jobs.list(2)
    assert (before.state, before.generated, job.known, job.generated) == ("stopped", 6, 6, 4)


def test_seconds_stop_the_job_while_it_runs(con: Session) -> None:
    echo = EchoEngine(lambda request: _pass_an_hour(con, request))
    con.runtime.open_engine = lambda version: echo
    con.execute("SET sqlinfer_max_seconds = 4000")
    with pytest.raises(StoppedEarly, match=r"max_seconds is 4,000.*used 7,\d+ seconds. 2 new answers are kept"):
        con.execute(ROWS.format("x", 10))
    assert len(echo.asked) == 2


def test_seconds_are_foreseen_from_the_models_speed(con: Session, echo: EchoEngine, counted: None) -> None:
    version = con.runtime.store.registry.get("echo")
    con.runtime.store.jobs.record_speed(version.fingerprint, 1000, 1000, 1000.0)
    con.execute("SET sqlinfer_max_seconds = 19")
    with pytest.raises(StoppedEarly, match="20 seconds, and max_seconds is 19"):
        con.execute(ROWS.format("x", 10))
    assert echo.asked == []


class _Wordy(EchoEngine):
    """Answers of ten tokens."""

    def generate(self, requests, cancel=None):  # type: ignore[no-untyped-def]
        from dataclasses import replace

        for completion in super().generate(requests, cancel):
            yield replace(completion, completion_tokens=10)


def _pass_an_hour(con: Session, request: Request) -> str:
    con.evaluator.job.counts._started_s -= 3600
    return request.text


def test_what_a_tokenizer_answers_is_no_request_and_costs_no_budget(con: Session, echo: EchoEngine) -> None:
    con.execute("SET sqlinfer_max_requests = 2")
    con.execute("SET sqlinfer_error_threshold = '20%'")
    con.execute("SELECT ai_count_tokens('a ' || i) FROM range(40) r(i)")
    con.execute(
        "SELECT ai_count_tokens(x, on_error := 'null') FROM (SELECT unnest(['boom', 'a', 'b', 'c', 'd', 'e']) x)"
    )
    con.execute("SELECT summarize(x, overflow := 'hierarchical') FROM (VALUES ('a'), ('b')) v(x)")
    assert [len(echo.asked), sum(request.needs_weights for request in echo.asked)] == [50, 2]
    counts = [(job.requests, job.generated, job.failed) for job in con.runtime.store.jobs.list()]
    assert counts == [(2, 2, 0), (1, 0, 1), (0, 0, 0)]


def test_explain_counts_a_text_in_parts_once_and_tokens_of_no_model(con: Session, counted: None) -> None:
    script = {
        "s": "SELECT ai_count_tokens(x), summarize(x, overflow := 'hierarchical') FROM (VALUES ('a'), ('b')) v(x)"
    }
    before = explain(con, script)
    con.execute(script["s"])
    after = explain(con, script)
    assert [(call.requests, call.known, call.to_ask) for call in before.calls] == [(0, 0, 0), (2, 0, 2)]
    assert [(call.requests, call.known, call.to_ask) for call in after.calls] == [(0, 0, 0), (2, 2, 0)]
    assert [(each.requests, each.known) for each in (before, after)] == [(2, 0), (2, 2)]
