"""Failed requests are data: counted, explained, asked again; the other rows never pay for them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from sqlinfer.config.job_settings import JobSettings
from sqlinfer.config.process_settings import environment
from sqlinfer.errors import RequestsFailed, SqlinferError, StoppedEarly
from sqlinfer.inference.cancellation import Deadline
from sqlinfer.inference.retry import attempts
from sqlinfer.sql import Session
from sqlinfer.types import Completion, Request, Text
from tests.conftest import EchoEngine

ROWS = "SELECT ai_gen(x) FROM (VALUES ('boom 1'), ('a'), ('boom 2'), ('b')) r(x)"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlinfer.inference.retry._BACKOFF_S", 0.001)


class Flaky:
    """Fails each request `times` times with an error that may pass; raises: as an exception in mid-stream."""

    def __init__(self, times: int, raises: Exception | None = None) -> None:
        self.left: dict[str, int] = {}
        self.asked: list[str] = []
        self._times = times
        self._raises = raises

    def generate(self, requests: Iterable[Request], cancel: Any = None) -> Iterator[Completion]:
        for request in requests:
            self.asked.append(request.text)
            self.left.setdefault(request.text, self._times)
            if self.left[request.text]:
                self.left[request.text] -= 1
                if self._raises:
                    raise self._raises
                yield Completion(request, error="no memory just now", finish_reason="error", is_retryable=True)
            else:
                yield Completion(request, Text(f"<{request.text}>"))


class Hanging:
    """Answers "slow" never: it polls cancel, as an engine does between its steps."""

    def generate(self, requests: Iterable[Request], cancel: Any = None) -> Iterator[Completion]:
        for request in requests:
            while request.text == "slow":
                if cancel.wait(0.005) if isinstance(cancel, threading.Event) else cancel.is_set():
                    return
            yield Completion(request, Text(f"<{request.text}>"))


def asked(*texts: str) -> list[Request]:
    return [Request(text, key=text.encode()) for text in texts]


def outcomes(engine: Any, settings: JobSettings, *texts: str) -> dict[bytes, str | None]:
    return {c.request.key: c.output for c in attempts(engine.generate, asked(*texts), threading.Event(), settings)}


@pytest.mark.parametrize("raises", [None, OSError("connection reset")])
def test_what_may_pass_is_asked_again_up_to_max_retries(raises: Exception | None) -> None:
    engine = Flaky(2, raises)
    assert outcomes(engine, JobSettings(max_retries=2), "a") == {b"a": "<a>"}
    assert engine.asked == ["a"] * 3


def test_retries_lose_no_request_of_the_stream() -> None:
    texts = [str(i) for i in range(50)]
    assert outcomes(Flaky(1), JobSettings(max_retries=1), *texts) == {t.encode(): f"<{t}>" for t in texts}
    broken = Flaky(1, OSError("connection reset"))
    assert outcomes(broken, JobSettings(max_retries=1), *texts) == {t.encode(): f"<{t}>" for t in texts}


def test_what_fails_for_good_is_asked_once(con: Session, echo: EchoEngine) -> None:
    with pytest.raises(RequestsFailed):
        con.execute(ROWS)
    assert sorted(echo.texts) == ["a", "b", "boom 1", "boom 2"]


def test_after_the_retries_a_failure_is_the_rows_and_a_broken_engine_the_statements() -> None:
    assert outcomes(Flaky(9), JobSettings(max_retries=2), "a") == {b"a": None}
    with pytest.raises(OSError, match="connection reset"):
        outcomes(Flaky(9, OSError("connection reset")), JobSettings(max_retries=2), "a")


def test_a_batch_that_finishes_nothing_in_time_fails_and_the_rest_goes_on() -> None:
    settings = JobSettings(max_retries=0, timeout=0.5)
    assert outcomes(Hanging(), settings, "a", "slow", "b") == {b"a": "<a>", b"slow": None, b"b": "<b>"}


def test_at_the_deadline_a_model_that_answers_nothing_ends_too() -> None:
    late = attempts(
        Hanging().generate, asked("a", "slow", "b"), Deadline(threading.Event(), time.monotonic() + 0.5), JobSettings()
    )
    assert [completion.output for completion in late] == ["<a>"]


def test_variables_are_set_while_a_model_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE", "before")
    monkeypatch.delenv("TWO", raising=False)
    with environment({"ONE": "1", "TWO": "2"}):
        assert (os.environ["ONE"], os.environ["TWO"]) == ("1", "2")
    assert (os.environ["ONE"], os.environ.get("TWO")) == ("before", None)


@pytest.mark.parametrize("said", ["registration", "SET"])
def test_environment_and_logging_level_hold_while_a_model_is_asked(
    con: Session, echo: EchoEngine, echo_folder: Any, caplog: pytest.LogCaptureFixture, said: str
) -> None:
    echo._answer = lambda request: os.environ.get("GREETING", "none")
    if said == "SET":
        con.execute("SET sqlinfer_environment = 'GREETING=hello'; SET sqlinfer_logging_level = 'debug'")
    settings = ", environment = 'GREETING=hello', logging_level = 'debug'" if said == "registration" else ""
    con.execute(f"CREATE MODEL other FROM '{echo_folder}' WITH (max_tokens = 5{settings})")
    sql = "SELECT ai_query('other', x, failOnError => false).response FROM (VALUES ('a'), ('boom')) r(x)"
    assert con.execute(sql).fetchall() == [("hello",), (None,)]
    assert "GREETING" not in os.environ
    assert "ai_query with model other/1 on 'boom': the model gave no answer" in caplog.text
    assert "other/1 read 1 tokens and wrote 1 in" in caplog.text
    assert logging.getLogger("sqlinfer").level == logging.NOTSET


def test_mini_batch_size_is_explained_once(con: Session, caplog: pytest.LogCaptureFixture) -> None:
    con.execute("SET sqlinfer_mini_batch_size = 10; SELECT ai_gen('a'); SELECT ai_gen('b')")
    assert caplog.text.count("mini_batch_size changes nothing: batches are filled by tokens") == 1


def test_failures_are_summed_up_by_kind_with_examples_and_the_way_on(con: Session) -> None:
    rows = "SELECT ai_gen('boom ' || repeat('x', 100) || i) FROM range(5) r(i)"
    with pytest.raises(RequestsFailed) as raised:
        con.execute(rows)
    lines = str(raised.value).splitlines()
    assert lines[0] == "5 requests failed; all other answers are kept."
    assert lines[1] == "  5 x the model gave no answer"
    examples = [line for line in lines if "ai_gen with model echo/1 on 'boom" in line]
    assert len(examples) == 3
    assert all(len(line) < 130 and "..." in line for line in examples)
    assert "Ask them again: " in lines[-1]
    assert "sqlinfer jobs errors" in lines[-1]


def test_a_failure_with_on_error_null_is_null_and_recorded(con: Session) -> None:
    rows = con.execute("SELECT ai_gen(x, on_error := 'null') FROM (VALUES ('boom'), ('a')) r(x)").fetchall()
    assert rows == [(None,), ("<a>",)]
    (error,) = con.runtime.store.jobs.errors(con.evaluator.runner.last_job_id or 0)
    assert (error.excerpt, error.message) == ("boom", "the model gave no answer")


def test_the_errors_of_all_statements_of_a_job_are_recorded(con: Session) -> None:

    with con.job("two statements"):
        for text in ("boom 1", "boom 2"):
            con.execute(f"SELECT ai_gen('{text}', on_error := 'null')")
    errors = con.runtime.store.jobs.errors(con.evaluator.runner.last_job_id or 0)
    assert sorted(error.excerpt for error in errors) == ["boom 1", "boom 2"]


def test_past_its_error_threshold_a_job_stops_early(con: Session, echo: EchoEngine) -> None:
    con.execute("SET sqlinfer_error_threshold = 2")
    with pytest.raises(StoppedEarly, match=r"3 requests failed, and error_threshold is 2"):
        con.execute("SELECT ai_gen('boom ' || i) FROM range(100) r(i)")
    assert len(echo.asked) == 3
    assert con.runtime.store.jobs.list()[0].state == "stopped"
    con.execute("SET sqlinfer_error_threshold = '50%'")
    with pytest.raises(RequestsFailed, match="2 requests failed"):
        con.execute(ROWS)


LABELS = (
    "SELECT ai_classify('t' || i, CASE WHEN i < {} THEN [] ELSE ['a', 'b'] END, on_error := 'null') FROM range(10) r(i)"
)


def test_rows_that_cannot_be_asked_count_as_failed(con: Session, echo: EchoEngine) -> None:
    con.execute(LABELS.format(3))
    (job, *_) = con.runtime.store.jobs.list()
    assert (job.rows, job.requests, job.known, job.generated, job.failed) == (10, 10, 0, 7, 3)
    assert job.failed == len(con.runtime.store.jobs.errors(job.job_id))
    con.execute("SET sqlinfer_error_threshold = '20%'")
    con.execute(LABELS.format(2))
    assert con.runtime.store.jobs.list()[0].failed == 2, "a share of all requests, known ones too"
    asked = len(echo.asked)
    with pytest.raises(StoppedEarly, match=r"4 requests failed, and error_threshold is 20%"):
        con.execute(LABELS.format(4).replace("'t'", "'other'"))
    assert len(echo.asked) == asked, "they are known before anything is asked"


@pytest.mark.parametrize("condition", ["concat(ai_gen('what ' || i))", "whole('what ' || i)", "g"])
def test_what_only_a_probe_makes_is_no_failure(con: Session, echo: EchoEngine, condition: str) -> None:
    """Without the answer the condition is blank, and a blank condition is an error."""
    con.execute("SET sqlinfer_error_threshold = 0; CREATE MACRO whole(x) AS concat(ai_gen(x))")
    sql = f"SELECT ai_filter('t' || i, {condition}) FROM (SELECT i, concat(ai_gen('it ' || i)) AS g FROM range(4) r(i))"
    assert len(con.execute(sql).fetchall()) == 4
    job = con.runtime.store.jobs.list()[0]
    assert (job.failed, job.requests, con.runtime.store.jobs.errors(job.job_id)) == (0, 8, [])


def test_rows_that_cannot_be_asked_count_against_a_models_own_threshold(con: Session, echo_folder: Any) -> None:
    con.execute(f"CREATE MODEL strict FROM '{echo_folder}' WITH (error_threshold = 1)")
    with pytest.raises(StoppedEarly, match=r"2 requests failed, and error_threshold is 1"):
        con.execute(LABELS.format(2).replace("on_error", "model := 'strict', on_error"))


def test_answers_that_a_function_cannot_read_count_as_failed(con: Session, echo: EchoEngine) -> None:
    echo._answer = lambda request: "{}"
    sql = "SELECT ai_sentiment('a' || i, on_error := 'null') FROM range(4) r(i)"
    con.execute(sql)
    (job, *_) = con.runtime.store.jobs.list()
    assert (job.requests, job.generated, job.failed) == (4, 4, 4)
    con.execute("SET sqlinfer_error_threshold = 3")
    with pytest.raises(StoppedEarly, match=r"4 requests failed, and error_threshold is 3"):
        con.execute(sql)


def test_a_setting_in_sql_is_checked_and_can_be_taken_back(con: Session) -> None:
    con.execute("SET sqlinfer_max_retries = 7; SET session sqlinfer_timeout TO 2.5")
    assert (con.runtime.settings.over().max_retries, con.runtime.settings.over().timeout) == (7, 2.5)
    con.execute("RESET sqlinfer_max_retries")
    assert con.runtime.settings.over().max_retries == 3
    con.execute("SET sqlinfer_error_threshold = -1; SET sqlinfer_environment = 'A=1'")
    assert con.runtime.settings.over().environment == {"A": "1"}
    for wrong, says in [
        ("SET sqlinfer_max_retrys = 1", "Did you mean max_retries"),
        ("SET sqlinfer_timeout = 'soon'", "timeout must be a number of seconds"),
        ("SET sqlinfer_timeout", "expected SET sqlinfer_timeout = value"),
    ]:
        with pytest.raises(SqlinferError, match=says):
            con.execute(wrong)


def test_a_registration_says_settings_of_its_model(con: Session, echo_folder: Any) -> None:
    con.execute(f"CREATE MODEL patient FROM '{echo_folder}' WITH (max_retries = 9, max_tokens = 5)")
    version = con.runtime.store.registry.get("patient")
    assert (version.settings, version.parameters.max_tokens) == ({"max_retries": 9}, 5)
    assert con.runtime.settings.over(version.settings).max_retries == 9
    con.execute("SET sqlinfer_max_retries = 0")
    assert con.runtime.settings.over(version.settings).max_retries == 0
