"""Laws of what a model behind an address is asked, and of how its answers are read."""

from __future__ import annotations

import json
import math
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import sqlinfer
from sqlinfer.backends import open_engine
from sqlinfer.errors import RequestsFailed
from sqlinfer.remote import unsupported_reason
from sqlinfer.sql import Session
from sqlinfer.sql.explain.preview import preview
from sqlinfer.store import Store
from sqlinfer.types import Predict, Request
from tests.remote.faulty_server import Body, FaultyServer, completion, echo


def tokens(*steps: dict[str, float]) -> Body:
    """Tokens of an answer: of each step the first is written, the others could have been, with their probabilities."""
    content = [
        {
            "token": next(iter(step)),
            "logprob": math.log(next(iter(step.values()))),
            "top_logprobs": [{"token": token, "logprob": math.log(p)} for token, p in step.items()],
        }
        for step in steps
    ]
    return {"content": content}


def with_tokens(*steps: dict[str, float]) -> Body:
    answer = completion("".join(next(iter(step)) for step in steps))
    answer["choices"][0]["logprobs"] = tokens(*steps)
    return answer


def test_each_distinct_row_is_one_request_and_equal_ones_are_one(con: Session, server: FaultyServer) -> None:
    con.sql("SELECT ai_gen('row ' || (i % 3)) FROM range(9) r(i)").fetchall()
    con.sql("SELECT ai_gen('row ' || (i % 3)) FROM range(9) r(i)").fetchall()
    assert sorted(server.prompts()) == ["row 0", "row 1", "row 2"]


def test_parameters_of_the_call_reach_the_server(con: Session, server: FaultyServer) -> None:
    con.sql(
        "SELECT ai_gen('a', max_tokens := 7, temperature := 0.5, top_p := 0.9, seed := 3, stop := ['x'])"
    ).fetchall()
    (body,) = server.bodies
    wanted = {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["x"], "model": "m"}
    assert wanted.items() <= body.items()


def test_the_turns_of_a_chat_are_sent_before_its_text(con: Session, server: FaultyServer) -> None:
    version = con.runtime.store.registry.get("far")
    request = Request("late?", "Be short.", turns=(("system", "You sell kettles."), ("assistant", "Hello.")))
    (completion,) = open_engine(version).generate([request])
    assert completion.error is None
    assert [(message["role"], message["content"]) for message in server.bodies[0]["messages"]] == [
        ("system", "You sell kettles."),
        ("assistant", "Hello."),
        ("user", "Be short.\n\nlate?"),
    ]
    assert "takes chats" in unsupported_reason(version, Request("late?", is_prompt=True))
    assert "images are sent to no server" in unsupported_reason(version, Request("late?", files=(b"png",)))


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ("temperature", "Unsupported value: 'temperature' does not support 0 with this model."),
        ("logprobs", "You are not allowed to request logprobs from this model"),
        ("response_format", "This response_format type is unavailable now"),
        ("max_tokens", "Use 'max_completion_tokens' instead of 'max_tokens'"),
    ],
)
def test_a_parameter_that_the_model_refuses_is_left_out_from_then_on(
    con: Session, server: FaultyServer, refused: str, message: str
) -> None:
    server.refuses = {f'"{refused}"': message}
    server.answer = lambda body: completion("good")
    call = "ai_gen('text ' || i, max_tokens := 9)"
    if refused != "max_tokens":
        call = "ai_classify('text ' || i, ['good', 'bad'])"
    query = f"SELECT {call} FROM range(30) r(i)"
    assert set(con.sql(query).fetchall()) == {("good",)}
    con.sql(query.replace("text", "other")).fetchall()
    assert not any(refused in body for body in server.bodies[-30:])


def test_a_refused_parameter_that_the_user_gave_is_an_error(con: Session, server: FaultyServer) -> None:
    server.refuses = {'"temperature"': "temperature is not supported"}
    with pytest.raises(RequestsFailed, match="temperature is not supported"):
        con.sql("SELECT ai_gen('a', temperature := 0.7)").fetchall()


def test_an_answer_of_labels_is_cut_by_no_max_tokens(con: Session, server: FaultyServer) -> None:
    con.sql("SELECT ai_classify('a', ['good', 'bad'], max_tokens := 1, temperature := 2)").fetchall()
    assert "max_tokens" not in server.bodies[0]
    assert server.bodies[0]["temperature"] == 0


def test_a_prompt_that_is_too_long_teaches_nothing_of_its_parameters(con: Session, server: FaultyServer) -> None:
    server.refuses = {"long text": "maximum context length is 10 tokens; reduce max_tokens or max_completion_tokens"}
    query = "SELECT ai_gen(x, max_tokens := 9, on_error := 'null') FROM (VALUES ('long text'), ('b')) t(x) ORDER BY x"
    assert con.sql(query).fetchall() == [("<b>",), (None,)]
    assert all(body["max_tokens"] == 9 for body in server.bodies)


def test_a_parameter_that_no_server_takes_is_an_error(con: Session, server: FaultyServer) -> None:
    with pytest.raises(RequestsFailed, match=r"num_beams is 4, and 127\.0\.0\.1 takes no num_beams"):
        con.sql("SELECT ai_gen('a', num_beams := 4)").fetchall()
    assert server.bodies == []


def test_probabilities_are_those_of_the_tokens_where_the_labels_part(con: Session, server: FaultyServer) -> None:
    server.answer = lambda body: with_tokens(
        {'{"': 0.9, "{": 0.1}, {"answer": 1.0}, {'":"': 1.0}, {"bad": 0.6, "good": 0.3, "x": 0.1}, {'"}': 1.0}
    )
    ((value,),) = con.sql("SELECT ai_classify('a', ['good', 'bad'], return_confidence := true)").fetchall()
    assert value == {"label": "bad", "confidence": pytest.approx(2 / 3)}


def test_labels_that_begin_alike_share_the_probability_of_their_beginning(con: Session, server: FaultyServer) -> None:
    server.refuses = {"response_format": "no response_format here"}
    server.answer = lambda body: with_tokens({"late": 0.8, "wrong": 0.2}, {" fee": 0.75, "": 0.25})
    labels = "['late fee', 'late', 'wrong']"
    ((value,),) = con.sql(f"SELECT ai_classify('a', {labels}, return_confidence := true)").fetchall()
    assert value["label"] == "late fee"
    assert 0.4 < value["confidence"] < 0.8


def test_each_label_of_several_has_a_yes_of_its_own_in_one_request(con: Session, server: FaultyServer) -> None:
    server.answer = lambda body: completion(json.dumps({"late": "yes", "rude": "no", "price": "yes"}))
    query = "SELECT ai_classify('a', ['late', 'rude', 'price'], multilabel := true)"
    assert con.sql(query).fetchall() == [(["late", "price"],)]
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "text", ["good", " Good. ", '"good"', '{"answer": "good"}', '```json\n{"answer": "GOOD"}\n```']
)
def test_an_answer_that_is_a_label_but_for_its_form_is_that_label(
    con: Session, server: FaultyServer, text: str
) -> None:
    server.answer = lambda body: completion(text)
    assert con.sql("SELECT ai_classify('a', ['bad', 'good'])").fetchall() == [("good",)]


def test_an_answer_outside_of_the_labels_is_asked_once_more_and_then_an_error(
    con: Session, server: FaultyServer
) -> None:
    server.answer = lambda body: completion("I think it is good")
    with pytest.raises(RequestsFailed, match="'I think it is good' is none of 'good', 'bad'"):
        con.sql("SELECT ai_classify('a', ['good', 'bad'])").fetchall()
    first, second = server.bodies
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert "is none of" in second["messages"][-1]["content"]


def test_an_answer_that_breaks_the_schema_is_asked_once_more_with_the_error(con: Session, server: FaultyServer) -> None:
    answers = iter(['{"n": "three", "name": null}', '{"n": 3, "name": null}'])
    server.answer = lambda body: completion(next(answers))
    query = "SELECT ai_extract('three', {'n': 'INTEGER', 'name': 'VARCHAR'})"
    assert con.sql(query).fetchall() == [({"n": 3, "name": None},)]
    assert "'three' is not of type" in server.prompts()[0] or "n" in server.bodies[1]["messages"][-1]["content"]
    (job,) = con.runtime.store.jobs.list()
    assert (job.prompt_tokens, job.completion_tokens) == (20, 10)  # both answers were paid


@pytest.mark.parametrize("text", ["no JSON", "{", '{"n": NaN, "name": null}', '{"other": 1}', "[]"])
def test_an_answer_that_breaks_the_schema_twice_is_an_error(con: Session, server: FaultyServer, text: str) -> None:
    server.answer = lambda body: completion(text)
    with pytest.raises(RequestsFailed, match=r"the answer (is not JSON|does not fit the schema)"):
        con.sql("SELECT ai_extract('three', {'n': 'INTEGER', 'name': 'VARCHAR'})").fetchall()


def test_without_a_schema_at_the_server_the_prompt_names_it(con: Session, server: FaultyServer) -> None:
    server.refuses = {"response_format": "response_format is not supported"}
    server.answer = lambda body: completion("```json\n7\n```")
    assert con.sql("SELECT ai_query('far', 'how many?', returnType := 'INTEGER')").fetchall() == [(7,)]
    assert "of this JSON schema" in server.prompts()[-1]


def test_texts_are_embedded_many_at_a_time_in_their_order(con: Session, server: FaultyServer) -> None:
    rows = con.sql("SELECT repeat('x', i), ai_embed(repeat('x', i)) FROM range(1, 101) r(i)").fetchall()
    assert all(vector[0] == len(text) for text, vector in rows)
    assert sorted(len(body["input"]) for body in server.bodies) == [36, 64]


def test_a_text_that_cannot_be_embedded_costs_no_other(con: Session, server: FaultyServer) -> None:
    def answer(handler: Any, body: Body) -> None:
        if "bad" in body["input"]:
            handler.send(400, {"error": {"message": "invalid input"}})
        else:
            handler.send(200, handler.state.answer(body))

    server.faults = (answer,)
    values = "(VALUES ('a'), ('bad'), ('c'), ('d')) t(x)"
    rows = con.sql(f"SELECT x, ai_embed(x, on_error := 'null') IS NULL FROM {values} ORDER BY x").fetchall()
    assert rows == [("a", False), ("bad", True), ("c", False), ("d", False)]


@pytest.mark.parametrize("vector", [[], ["a"], None, [float("nan")], [[1.0]]])
def test_an_embedding_that_is_no_vector_is_an_error(con: Session, server: FaultyServer, vector: Any) -> None:
    server.answer = lambda body: {"data": [{"index": 0, "embedding": vector}]}
    with pytest.raises(RequestsFailed, match="gave no vector of numbers"):
        con.sql("SELECT ai_embed('a')").fetchall()


def test_a_text_that_is_too_long_is_cut_where_the_call_says_so(con: Session, server: FaultyServer) -> None:
    def answer(handler: Any, body: Body) -> None:
        prompt = body["messages"][0]["content"]
        if len(prompt) > 1000:
            handler.send(400, {"error": {"message": "This model's maximum context length is 200 tokens"}})
        else:
            handler.send(200, completion(str(len(prompt))))

    server.faults = (answer,)
    query = "SELECT summarize(repeat('word ', 400), overflow := '{}')"
    ((length,),) = con.sql(query.format("truncate")).fetchall()
    assert 700 < int(length) <= 1000
    with pytest.raises(RequestsFailed, match="maximum context length"):
        con.sql(query.format("error")).fetchall()


def test_a_long_text_is_read_in_parts_of_the_context_that_the_server_names(con: Session, server: FaultyServer) -> None:
    server.models = ({"id": "m", "max_model_len": 1000},)
    server.answer = lambda body: completion("part")
    con.sql("SELECT summarize(repeat('word ', 2000), overflow := 'hierarchical')").fetchall()
    assert len(server.bodies) > 3
    assert max(len(prompt) for prompt in server.prompts()) < 4 * 1000


def test_a_preview_shows_the_prompt_that_is_sent(con: Session, server: FaultyServer) -> None:
    query = "SELECT ai_classify('a', ['good', 'bad'])"
    (row,) = preview(con, {"q": query}, num_rows=1)
    assert row.prompt == server.prompts()[0]


def test_tokens_are_counted_without_a_request(con: Session, server: FaultyServer) -> None:
    assert con.sql("SELECT ai_count_tokens('eight by')").fetchall() == [(2,)]
    assert server.bodies == []


def test_a_model_behind_an_address_predicts_nothing(con: Session) -> None:
    version = con.runtime.store.registry.get("far")
    assert "lies behind an address and writes text" in unsupported_reason(version, Predict("a"))


def test_the_window_grows_from_eight_and_keeps_the_bounds_that_are_set(con: Session, server: FaultyServer) -> None:
    con.execute("SET sqlinfer_max_in_flight = 2")
    con.sql("SELECT ai_gen('row ' || i) FROM range(30) r(i)").fetchall()
    assert server.most_in_flight <= 2


def test_a_thinking_part_is_no_part_of_the_answer(con: Session, server: FaultyServer) -> None:
    server.answer = lambda body: completion("<think>\nhm\n</think>\n\nyes")
    assert con.sql("SELECT ai_gen('a')").fetchall() == [("yes",)]


def test_registration_and_address_decide_what_is_asked_again(home: Path, server: FaultyServer) -> None:
    with Store(home) as store:
        first = store.registry.register("far", f"{server.url}#m")
        same = store.registry.register("again", f"{server.url}/chat/completions#m")
        other = store.registry.register("other", f"{server.url}#n")
    assert first.fingerprint == same.fingerprint != other.fingerprint
    with sqlinfer.connect() as con:
        con.sql("SELECT ai_gen('a', model := 'far'), ai_gen('a', model := 'again')").fetchall()
    assert len(server.bodies) == 1


def test_a_job_notes_what_the_server_reports_of_the_model(con: Session, server: FaultyServer) -> None:
    numbers = count(1)
    server.answer = lambda body: {**echo(body), "model": "m-2", "system_fingerprint": f"fp_{next(numbers) // 3}"}
    con.sql("SELECT ai_gen('row ' || i) FROM range(4) r(i)").fetchall()
    (job,) = con.runtime.store.jobs.list()
    assert sorted(job.snapshots["far/1"]) == ["m-2 fp_0", "m-2 fp_1"]
    con.sql("SELECT ai_embed('a')").fetchall()
    assert con.runtime.store.jobs.list()[0].snapshots == {"far/1": ["m-2 fp_1"]}
