"""Laws of what a server does wrong: it costs time, never a row that can be answered, and its errors have names."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trustme

import sqlinfer
from sqlinfer.errors import Interrupted, ModelUnusable, RequestsFailed
from sqlinfer.sql import Session
from sqlinfer.store import Store
from tests.remote.faulty_server import (
    Body,
    Fault,
    FaultyServer,
    Handler,
    completion,
    error_with_200,
    html,
    null_content,
    reset,
    serving,
    stall,
    status,
    truncated,
)

PASSING: dict[str, Fault] = {
    "429": status(429),
    "429 with Retry-After": status(429, retry_after="0.05"),
    "500": status(500),
    "503": status(503, retry_after_ms="20"),
    "reset": reset,
    "truncated JSON": truncated,
    "HTML": html,
    "null content": null_content,
    "an error with status 200": error_with_200,
}


def test_rows_with_failures_in_a_third_are_all_right_and_answered_once(con: Session, server: FaultyServer) -> None:
    server.faults, server.share = tuple(PASSING.values()), 0.3
    rows = con.sql("SELECT i, ai_gen('row ' || (i % 150)) FROM range(300) r(i)").fetchall()
    assert sorted(rows) == [(i, f"<row {i % 150}>") for i in range(300)]
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == 150


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_asked_again(con: Session, server: FaultyServer, fault: str) -> None:
    once = iter([PASSING[fault]])

    def first_time(handler: Handler, body: Body) -> None:
        next(once, answered)(handler, body)

    server.faults = (first_time,)
    assert con.sql("SELECT ai_gen('a')").fetchall() == [("<a>",)]
    assert len(server.bodies) == 2


def answered(handler: Handler, body: Body) -> None:
    handler.send(200, handler.state.answer(body))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (html, "answered text/html that is no JSON object: '<html>Bad gateway</html>'. Its base URL here is"),
        (truncated, "answered application/json that is no JSON object"),
        (reset, "the connection to 127.0.0.1 broke"),
        (status(500, "worker died"), "answered 500: worker died"),
        (null_content, "the answer has no text"),
        (lambda h, _: h.send(200, {"choices": []}), r"has no choices"),
        (lambda h, _: h.send(200, completion("", "error")), "ended the answer with an error"),
        (lambda h, _: h.send(200, completion(None, refusal="I cannot")), "the model refused: I cannot"),
        (lambda h, _: h.send(200, completion(None, tool_calls=[{"id": "1"}])), "called a tool"),
        (lambda h, _: h.send(200, completion("", "length")), "raise max_tokens"),
        (lambda h, _: h.send(200, completion("half", "content_filter")), "content filter"),
        (status(400, "bad request"), "answered 400: bad request"),
    ],
)
def test_what_stays_is_an_error_of_its_row_with_a_name(
    con: Session, server: FaultyServer, fault: Fault, words: str
) -> None:
    def only_bad(handler: Handler, body: Body) -> None:
        is_bad = body["messages"][0]["content"] == "bad"
        (fault if is_bad else answered)(handler, body)

    server.faults = (only_bad,)
    con.execute("SET sqlinfer_max_retries = 1")
    query = "SELECT ai_gen(x, on_error := 'null') FROM (VALUES ('bad'), ('good')) t(x) ORDER BY x"
    assert con.sql(query).fetchall() == [(None,), ("<good>",)]
    with pytest.raises(RequestsFailed, match=words):
        con.sql("SELECT ai_gen('bad')").fetchall()


def test_load_that_passes_uses_up_no_retries_while_others_are_answered(con: Session, server: FaultyServer) -> None:
    refusals = iter(range(3))

    def busy(handler: Handler, body: Body) -> None:
        if body["messages"][0]["content"] == "row 0" and next(refusals, None) is not None:
            handler.send(429, {"error": {"message": "slow down"}})
        else:
            time.sleep(0.03)
            answered(handler, body)

    server.faults = (busy,)
    con.execute("SET sqlinfer_max_retries = 2; SET sqlinfer_max_in_flight = 1")
    assert len(con.sql("SELECT ai_gen('row ' || i) FROM range(30) r(i)").fetchall()) == 30


def test_a_stalled_answer_ends_at_the_timeout(con: Session, server: FaultyServer) -> None:
    server.faults = (stall(0.6),)
    con.execute("SET sqlinfer_max_retries = 0; SET sqlinfer_timeout = 0.1")
    with pytest.raises(RequestsFailed, match=r"no answer from 127.0.0.1 within 0.1 s"):
        con.sql("SELECT ai_gen('a')").fetchall()


def test_a_stop_is_obeyed_while_the_server_stalls(con: Session, server: FaultyServer) -> None:
    stopped = threading.Event()

    def stop(handler: Handler, body: Body) -> None:
        con.interrupt()
        stopped.wait(20)

    server.faults = (stop,)
    with pytest.raises(Interrupted):
        con.sql("SELECT ai_gen('a')").fetchall()
    assert server.in_flight == 1
    stopped.set()


def test_an_answer_of_ten_megabytes_is_read(con: Session, server: FaultyServer) -> None:
    server.answer = lambda body: completion("x" * 10_000_000)
    assert con.sql("SELECT length(ai_gen('a'))").fetchall() == [(10_000_000,)]


@pytest.mark.parametrize(
    "usage", [None, "many", {}, {"prompt_tokens": -5, "completion_tokens": "7"}, {"prompt_tokens": 1e99}]
)
def test_wrong_usage_costs_no_row_and_is_estimated(con: Session, server: FaultyServer, usage: object) -> None:
    server.answer = lambda body: {**completion("a b c d"), "usage": usage}
    con.sql("SELECT ai_gen('four words of text')").fetchall()
    (job,) = con.runtime.store.jobs.list()
    assert (job.prompt_tokens, job.completion_tokens) == (5, 2)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            status(401, "bad key"),
            "401: bad key. Set the variable SQLINFER_KEY_127_0_0_1, or keep it in the system's keyring",
        ),
        (status(404, "no such model"), "404: no such model. Known: llama, mistral"),
        (
            status(400, "m is no model ID"),
            "400: m is no model ID. A plain request to 'm' is refused too. Known: llama, mistral",
        ),
        (status(403, "not yours"), "403: not yours. A plain request to 'm' is refused too"),
        (status(501, "no chats here"), "501: no chats here. A plain request"),
        (status(302, location="https://elsewhere.example/v1"), "redirects to https://elsewhere.example/v1"),
        (lambda h, _: h.send(429, {"error": {"message": "pay", "code": "insufficient_quota"}}), "429: pay"),
    ],
)
def test_what_is_wrong_for_all_rows_ends_the_statement_and_is_asked_once_a_place(
    con: Session, server: FaultyServer, fault: Fault, words: str
) -> None:
    server.faults, server.models = (fault,), ({"id": "llama"}, {"id": "mistral"})
    for call in ("ai_gen", "ai_embed"):
        server.bodies.clear()
        with pytest.raises(ModelUnusable) as caught:
            con.sql(f"SELECT {call}('row ' || i) FROM range(500) r(i)").fetchall()
        assert words in str(caught.value)
        assert len(server.bodies) <= 16


def test_a_server_without_a_list_of_models_may_have_another_address(con: Session, server: FaultyServer) -> None:
    server.faults = (status(404, "Not Found"),)
    with pytest.raises(ModelUnusable, match=rf"404: Not Found\. Its base URL here is {server.url}; most end in /v1"):
        con.sql("SELECT ai_gen('a')").fetchall()


def test_a_hint_that_the_server_gives_is_not_given_again(con: Session, server: FaultyServer) -> None:
    server.faults, server.models = (status(404, "no model 'm'. Did you mean ma?"),), ({"id": "ma"}, {"id": "xyz"})
    with pytest.raises(ModelUnusable, match=r"404: no model 'm'\. Did you mean ma\?$"):
        con.sql("SELECT ai_gen('a')").fetchall()


def test_refusals_of_rows_end_nothing_where_a_plain_request_is_answered(con: Session, server: FaultyServer) -> None:
    server.faults = (lambda h, body: status(403, "flagged")(h, body) if "row" in str(body) else answered(h, body),)
    with pytest.raises(RequestsFailed, match="40 requests failed"):
        con.sql("SELECT ai_gen('row ' || i), ai_embed('row ' || i) FROM range(20) r(i)").fetchall()
    assert len([body for body in server.bodies if "Hi" in str(body)]) == 2  # one of each kind


def test_a_server_that_is_not_there_is_named(home: Path) -> None:
    with Store(home) as store:
        store.registry.register("gone", "http://127.0.0.1:9/v1#m")
    words = r"127\.0\.0\.1:9/v1 cannot be reached"
    with sqlinfer.connect(model="gone") as con, pytest.raises(ModelUnusable, match=words):
        con.sql("SELECT ai_gen('a')").fetchall()


def test_a_host_without_an_address_is_named_and_asked_once(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Store(home) as store:
        store.registry.register("gone", "https://no-such-host.invalid/v1#m")
    words = r"the name no-such-host\.invalid of https://no-such-host\.invalid/v1 has no address"
    with sqlinfer.connect(model="gone") as con, pytest.raises(ModelUnusable, match=words):
        con.sql("SELECT ai_gen('a')").fetchall()
    assert "sent again" not in caplog.text


def test_a_certificate_is_asked_for_once_and_trusted_where_the_variable_names_its_authority(
    home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    query = "SELECT ai_gen('a')"
    with serving(tls) as server, Store(home) as store:
        store.registry.register("far", f"{server.url}#m")
        with sqlinfer.connect(model="far") as con, pytest.raises(ModelUnusable, match=r"certificate.* SSL_CERT_FILE"):
            con.sql(query).fetchall()
        assert "sent again" not in caplog.text
        assert not server.bodies
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with serving(tls) as server, Store(home) as store:  # at another port: a connection keeps its authorities
        store.registry.register("far", f"{server.url}#m")
        with sqlinfer.connect(model="far") as con:
            assert con.sql(query).fetchall() == [("<a>",)]


def test_a_run_that_is_killed_asks_again_only_what_was_in_flight(con: Session, server: FaultyServer) -> None:
    go_on, held = threading.Event(), threading.Semaphore(0)

    def hold(handler: Handler, body: Body) -> None:
        if len(server.bodies) > 20 and not go_on.is_set():
            held.release()
            go_on.wait(60)
        answered(handler, body)

    server.faults = (hold,)
    query = "SELECT ai_gen('row ' || i) AS answer FROM range(60) r(i) ORDER BY i"
    words = ("run", "-c", query, "--model", "far", "--max-in-flight", "4")
    with subprocess.Popen([sys.executable, "-m", "sqlinfer", *words], stdout=subprocess.DEVNULL) as run:
        for _ in range(4):
            assert held.acquire(timeout=60)
        answers = con.runtime.store.answers
        while answers.stats()["answers"] < 20:
            time.sleep(0.05)
        run.kill()
    go_on.set()
    assert con.sql(query).fetchall() == [(f"<row {i}>",) for i in range(60)]
    assert len(server.bodies) == 60 + 4


def test_a_retry_after_holds_back_all_requests(con: Session, server: FaultyServer) -> None:
    once, times = iter([status(429, retry_after="0.3")]), []

    def fault(handler: Handler, body: Body) -> None:
        times.append(time.monotonic())
        next(once, answered)(handler, body)

    server.faults = (fault,)
    con.execute("SET sqlinfer_max_in_flight = 1")
    con.sql("SELECT ai_gen('row ' || i) FROM range(4) r(i)").fetchall()
    assert times[1] - times[0] >= 0.3
