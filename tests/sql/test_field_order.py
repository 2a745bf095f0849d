"""ai_query(.., reorder := true): the columns that prompts share stand first, in one order for all rows."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

import sqlinfer
from sqlinfer.sql import Session
from sqlinfer.sql.explain.explain import explain
from sqlinfer.sql.explain.preview import preview
from tests.conftest import EchoEngine
from tests.sql.conftest import UDFS

TABLE = "CREATE TABLE t AS SELECT i, 'body ' || i AS body, ['lamp', 'desk'][1 + i % 2] AS product FROM range(6) r(i)"
ASK = "ai_query('echo', {'body': body, 'product': product}, reorder := true)"


def asked_columns(echo: EchoEngine) -> list[tuple[str, ...]]:
    return [tuple(json.loads(text)) for text in echo.texts]


def test_shared_columns_come_first_and_their_rows_together(con: Session, echo: EchoEngine) -> None:
    con.execute(TABLE)
    found = con.execute(f"SELECT body, product, {ASK} FROM t").fetchall()
    assert set(asked_columns(echo)) == {("product", "body")}
    products = [json.loads(text)["product"] for text in echo.texts]
    assert products == sorted(products)
    assert found == [(b, p, f'<{{"product": "{p}", "body": "{b}"}}>') for b, p, _ in found], "each row has its answer"


def test_more_rows_ask_only_the_new_ones_whatever_their_counts(con: Session, echo: EchoEngine) -> None:
    con.execute(TABLE)
    con.execute(f"SELECT {ASK} FROM t")
    con.execute("INSERT INTO t SELECT 10 + i, 'body 0', 'product ' || i FROM range(50) r(i)")
    con.execute(f"SELECT {ASK} FROM t")
    assert len(echo.asked) == len(set(echo.texts)) == 56
    assert set(asked_columns(echo)) == {("product", "body")}


def test_the_order_is_part_of_what_is_asked(con: Session, echo: EchoEngine) -> None:
    con.execute(TABLE)
    con.execute(f"SELECT {ASK} FROM t")
    num_asked = len(echo.asked)
    con.execute("""SELECT ai_query('echo', '{"product": "lamp", "body": "body 0"}')""")
    assert len(echo.asked) == num_asked, "the same prompt is the same question"
    con.execute("""SELECT ai_query('echo', '{"body": "body 0", "product": "lamp"}')""")
    con.execute("SELECT ai_query('echo', {'body': body, 'product': product}) FROM t")
    assert len(echo.asked) == num_asked + 7
    assert echo.texts[-1].startswith("{'body': ")


def test_columns_are_counted_where_conditions_hold(con: Session, echo: EchoEngine) -> None:
    con.execute("CREATE TABLE t AS SELECT 'angry ' || i % 2 AS body, 'p' || i AS product FROM range(4) r(i)")
    con.execute("INSERT INTO t SELECT 'calm ' || i, 'calm' FROM range(9) r(i)")
    con.execute(f"SELECT {ASK} FROM t WHERE ai_filter(body, 'is it angry')")
    assert set(asked_columns_of_structs(echo)) == {("body", "product")}


def asked_columns_of_structs(echo: EchoEngine) -> list[tuple[str, ...]]:
    return [tuple(json.loads(text)) for text in echo.texts if text.startswith("{")]


def test_explain_and_preview_ask_no_other_questions(home: object) -> None:
    one_token = "modelParameters := {'max_tokens': 1}"
    sql = f"SELECT {ASK.replace('echo', 'sqlinfer/tiny')[:-1]}, {one_token}) FROM t"
    with sqlinfer.connect() as session:
        session.execute(TABLE)
        (call,) = explain(session, {"a.sql": sql}).calls
        assert (call.requests, call.to_ask) == (6, 6)
        shown = preview(session, {"a.sql": sql}, 2)
        assert len(shown) == 2 and all('{"product": ' in each.prompt and each.answer is not None for each in shown)
        assert explain(session, {"a.sql": sql}).calls[0].to_ask == 4


def test_a_plain_connection_decides_at_its_first_chunk(direct: duckdb.DuckDBPyConnection) -> None:
    direct.execute(TABLE)
    found = direct.execute(f"SELECT {ASK} FROM t").fetchall()
    assert {tuple(json.loads(answer[1:-1])) for (answer,) in found} == {("product", "body")}


def test_the_order_outlives_the_session_and_goes_with_the_answers(registered: None) -> None:
    turned = f"SELECT {ASK} FROM (SELECT body AS product, product AS body FROM t)"
    for sql, expected in ((ASK, "product"), (turned, "product"), (None, ""), (turned, "body")):
        echo = EchoEngine()
        with sqlinfer.connect(model="echo", udfs=[UDFS]) as session:
            session.runtime.open_engine = lambda version, echo=echo: echo
            if sql is None:
                session.runtime.store.answers.clear()
                continue
            session.execute(TABLE)
            session.execute(sql if sql is turned else f"SELECT {sql} FROM t")
        assert {names[0] for names in asked_columns(echo)} == {expected}


def test_null_and_nested_values_keep_their_places(con: Session, echo: EchoEngine) -> None:
    said = "{'day': DATE '2026-01-31', 'tags': ['a', 'b'], 'note': NULL, 'quote': 'say \"hi\" é'}"
    con.execute(f"SELECT ai_query('echo', {said}, reorder := true), ai_query('echo', NULL, reorder := true)")
    (text,) = echo.texts
    assert json.loads(text) == {"day": "2026-01-31", "tags": ["a", "b"], "note": None, "quote": 'say "hi" é'}


def test_a_text_has_no_columns(con: Session, echo: EchoEngine) -> None:
    with pytest.raises(sqlinfer.SqlinferError, match="reorder needs a struct of columns"):
        con.execute("SELECT ai_query('echo', 'text', reorder := true)")
    assert echo.asked == []


def test_columns_need_the_argument_that_orders_them(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "from sqlinfer import Request\nfrom sqlinfer.types import Columns\n"
        'def bad(x: Columns) -> Request:\n    """Bad."""\n    return Request(x)\n'
    )
    with pytest.raises(sqlinfer.SqlinferError, match="no argument `reorder"):
        sqlinfer.functions.load_function(file)
