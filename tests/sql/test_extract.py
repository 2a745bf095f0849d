"""ai_extract of texts that are too long: cut, refused, or read in parts whose fields are put together."""

from __future__ import annotations

import json

import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.sql import Session
from sqlinfer.types import AnyRequest, Output, SplitText
from tests.conftest import EchoEngine

LONG = " ".join(["nothing"] * 10 + ["city=Oslo", "tag=red."] + ["nothing"] * 10 + ["city=Rome", "tag=red", "tag=blue."])
FIELDS = "{'city': 'VARCHAR', 'price': 'DOUBLE', 'tags': 'VARCHAR[]', 'at': 'STRUCT(city VARCHAR, zip VARCHAR)'}"
DETAILED = ["value", "prompt_tokens", "completion_tokens", "finish_reason", "truncated"]


def finder(echo: EchoEngine) -> EchoEngine:
    """A model that tells what stands in the text."""
    echoed = echo._answer

    def answer(request: AnyRequest) -> Output | str:
        if isinstance(request, SplitText):
            return echoed(request)
        told = [word.strip(".").partition("=") for word in request.text.split()]
        city = next((value for name, _, value in told if name == "city"), None)
        tags = [value for name, _, value in told if name == "tag"]
        place = {"city": None, "zip": None} if city == "Oslo" else {"city": city, "zip": "2"}
        return json.dumps({"city": city, "price": None, "tags": tags or None, "at": place})

    echo._answer = answer
    return echo


def test_in_parts_a_field_is_the_first_that_is_told_and_lists_are_joined(con: Session, echo: EchoEngine) -> None:
    finder(echo)
    sql = f"SELECT ai_extract(x, {FIELDS}, overflow := 'hierarchical') FROM (VALUES (?), (NULL)) v(x)"
    found = {"city": "Oslo", "price": None, "tags": ["red", "blue"], "at": {"city": "Rome", "zip": "2"}}
    assert con.execute(sql, [LONG]).fetchall() == [(found,), (None,)]
    parts = [request.text for request in echo.asked if request.needs_weights]
    assert len(parts) == 3 and " ".join(parts) == LONG


def test_lists_of_a_fixed_size_are_not_joined(con: Session, echo: EchoEngine) -> None:
    answers = iter([[1, 2], [3, 4], [5, 6]])
    echoed = echo._answer
    echo._answer = lambda r: echoed(r) if isinstance(r, SplitText) else json.dumps({"at": next(answers)})
    sql = "SELECT ai_extract(?, {'at': 'INTEGER[2]'}, overflow := 'hierarchical').at"
    assert con.execute(sql, [LONG]).fetchall() == [((1, 2),)]


def test_a_text_is_cut_or_refused_as_the_call_says_and_details_tell(con: Session, echo: EchoEngine) -> None:
    finder(echo)
    kind = "STRUCT(city VARCHAR, price DOUBLE, tags VARCHAR[])"
    row = con.execute(
        f"SELECT ai_extract('city=Bern', '{kind}', overflow := 'truncate', details := true) AS d"
    ).fetchall()
    assert list(row[0][0]) == DETAILED
    assert row[0][0]["value"] == {"city": "Bern", "price": None, "tags": None}
    assert (row[0][0]["prompt_tokens"], row[0][0]["truncated"]) == (9, False)
    con.execute("SELECT ai_extract('a', ['city']), ai_extract('b', ['city'], overflow := 'truncate')").fetchall()
    assert {request.text: request.overflow for request in echo.asked[1:]} == {"a": "error", "b": "truncate"}
    with pytest.raises(SqlinferError, match="overflow must be 'truncate' or 'hierarchical' or 'error', not 'cut'"):
        con.execute("SELECT ai_extract('a', ['city'], overflow := 'cut')")


def test_details_of_parts_are_sums_over_the_parts(con: Session, echo: EchoEngine) -> None:
    finder(echo)
    sql = f"SELECT ai_extract(?, {FIELDS}, overflow := 'hierarchical', details := true)"
    ((details,),) = con.execute(sql, [LONG]).fetchall()
    assert details["completion_tokens"] == 3
    assert details["value"]["city"] == "Oslo"


@pytest.mark.parametrize("call", ["ai_classify(x, ['a', 'b']", "ai_filter(x, 'c'", "ai_score(x, 'c'", "ai_sentiment(x"])
def test_scored_functions_cut_a_text_if_the_call_says_so(call: str, con: Session, echo: EchoEngine) -> None:
    con.execute(f"SELECT {call}), {call}, overflow := 'truncate') FROM (VALUES ('a')) v(x)").fetchall()
    assert sorted(request.overflow for request in echo.asked) == ["error", "truncate"]
