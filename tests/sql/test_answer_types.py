"""SQL types and JSON schemas: each DuckDB type that an answer can have takes every value that its schema allows."""

from __future__ import annotations

import json
from datetime import datetime, time
from decimal import Decimal
from uuid import UUID

import duckdb
import pytest

from sqlinfer import SqlinferError, answer_type
from sqlinfer.sql import Session
from tests.conftest import EchoEngine

ANSWERS = {
    "VARCHAR": ('"a \\"b\\"\\n"', 'a "b"\n'),
    "TINYINT": ("-128", -128),
    "UBIGINT": (str(10**18), 10**18),
    "BIGINT": (str(-(10**18)), -(10**18)),
    "TIMESTAMP": ('"2024-02-29T23:59:58"', datetime(2024, 2, 29, 23, 59, 58)),
    "TIME": ('"23:59:58"', time(23, 59, 58)),
    "UUID": ('"01234567-89ab-4def-8123-456789abcdef"', UUID("01234567-89ab-4def-8123-456789abcdef")),
    "DOUBLE": ("1e3", 1000.0),
    "DECIMAL(4,2)": ("98.999", Decimal("99.00")),
    "BOOLEAN": ("true", True),
    "INTEGER[]": ("[1, 2]", [1, 2]),
    "FLOAT[2]": ("[0.5, 1]", (0.5, 1.0)),
    "ENUM('a', 'b''c')": ('"b\'c"', "b'c"),
    "MAP(VARCHAR, INTEGER)": ('{"x y": 1}', {"x y": 1}),
    'STRUCT(a INTEGER, "b ""c" STRUCT(d VARCHAR[])[])': (
        '{"a": null, "b \\"c": [{"d": ["x"]}]}',
        {"a": None, 'b "c': [{"d": ["x"]}]},
    ),
    "JSON": ('{"a": [1]}', '{"a":[1]}'),
}


def answering(con: Session, text: str) -> EchoEngine:
    engine = EchoEngine(lambda _: text)
    con.runtime.open_engine = lambda _: engine
    return engine


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_becomes_a_value_of_its_type(con: Session, kind: str) -> None:
    text, value = ANSWERS[kind]
    answering(con, text)
    sql = f"SELECT ai_query('echo', 'x', returnType => '{kind.replace(chr(39), chr(39) * 2)}') AS v"
    rows = con.execute(sql if kind != "VARCHAR" else sql.replace("VARCHAR", '{"type": "string"}'))
    assert rows.fetchall() == [(value,)]
    assert con.execute(f"SELECT typeof(v) FROM ({sql})").fetchall()[0][0] == answer_type(kind).sql


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("STRUCT<a: ARRAY<STRING>, b: INT>", "STRUCT(a VARCHAR[], b INTEGER)"),
        ('{"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}}', 'STRUCT(a BIGINT, b "JSON")'),
        ('{"type": ["array", "null"], "items": {"enum": ["x", null]}}', "VARCHAR[]"),
        ('{"type": "object", "additionalProperties": {"type": "string"}}', "JSON"),
        ('{"anyOf": [{"type": "string"}, {"type": "integer"}]}', "JSON"),
    ],
)
def test_a_text_says_a_type(text: str, sql: str) -> None:
    assert answer_type(text).sql.replace('"', "") == sql.replace('"', "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("STRUKT(a INT)", "is no SQL type and no JSON schema"),
        ("STRUCT(a VARCHAR, b INTEGR)", "Did you mean INTEGER"),
        ("STRUCT(a mood)", "A type of CREATE TYPE is not known here"),
        ("STRUCT(a STRUCT(b BLOB[]))", r"the answer\.a\.b\[\] cannot be of the type BLOB"),
        ('{"type": "object", "properties": {"a": {"type": "strin"}}}', r"properties\.a: Invalid type: strin"),
        ('{"type": ', "not JSON"),
    ],
)
def test_what_no_answer_can_be_is_refused_when_it_is_bound(
    con: Session, echo: EchoEngine, text: str, words: str
) -> None:
    with pytest.raises(SqlinferError, match=words):
        con.execute(f"SELECT ai_query('echo', x, returnType => '{text}') FROM (VALUES ('a')) v(x)")
    assert echo.asked == []


def test_dates_are_days_that_there_are() -> None:
    import re

    pattern = json.loads(answer_type("DATE").schema)["pattern"]
    days = ["2024-02-29", "2000-02-29", "1999-12-31", "2023-04-30"]
    nights = ["2023-02-29", "1900-02-29", "2024-04-31", "2024-13-01", "0000-01-01"]
    assert [day for day in days + nights if re.match(pattern, day)] == days
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT count({days}::DATE[])").fetchall() == [(1,)]


def test_extract_takes_names_types_and_schemas(con: Session) -> None:
    engine = answering(con, '{"product": "lamp", "price": 2.5}')
    schema = '{"type": "object", "properties": {"product": {"type": "string"}, "price": {"type": "number"}}}'
    for fields in ("['product', 'price']", "{'product': 'VARCHAR', 'price': 'DOUBLE'}", f"'{schema}'"):
        sql = (
            f"SELECT e.product, e.price * 2 FROM (SELECT ai_extract(x, {fields}) AS e FROM (VALUES ('t'), (NULL)) v(x))"
        )
        assert con.execute(sql.replace("e.price *", "e.price::DOUBLE *")).fetchall() == [("lamp", 5.0), (None, None)]
    asked = {request.instruction.partition(". ")[0] for request in engine.asked}
    begin = "Extract these fields from the following text as JSON: product, price"
    assert asked == {begin, f"{begin} (number)"}


@pytest.mark.parametrize("fields", ["[]::VARCHAR[]", "['a', 'a']", "['a', NULL]", "[' ']", "{'a': 'STRUKT'}", "7"])
def test_bad_fields_are_refused_when_they_are_bound(con: Session, echo: EchoEngine, fields: str) -> None:
    with pytest.raises(SqlinferError):
        con.execute(f"SELECT ai_extract('t', {fields})")
    assert echo.asked == []


def test_fields_of_a_column_give_json(con: Session) -> None:
    answering(con, '{"a": "x"}')
    assert con.execute("SELECT ai_extract('t', f) FROM (VALUES (['a'])) v(f)").fetchall() == [('{"a":"x"}',)]


def test_failed_rows_have_a_message_where_the_call_says_so(con: Session) -> None:
    rows = "FROM (VALUES ('a'), ('boom')) v(x) ORDER BY x"
    sql = f"SELECT ai_query('echo', x, failOnError => false) AS r {rows}"
    assert con.execute(sql).fetchall() == [
        ({"response": "<a>", "errorMessage": None},),
        ({"response": None, "errorMessage": "the model gave no answer"},),
    ]
    typed = (
        f"SELECT r.response FROM (SELECT ai_query('echo', x, returnType => 'INTEGER', failOnError => false) r {rows})"
    )
    answering(con, "7")
    assert con.execute(typed).fetchall() == [(7,), (None,)]
    with pytest.raises(SqlinferError, match="the model gave no answer"):
        con.execute(f"SELECT ai_query('echo', x) {rows}")
    assert con.execute(f"SELECT ai_query('echo', x, on_error := 'null') {rows}").fetchall()[1] == (None,)
    assert con.execute("SELECT TRY(ai_query('echo', 'boom', returnType => 'INTEGER'))").fetchall() == [(None,)]


def test_model_parameters_are_those_that_there_are(con: Session, echo: EchoEngine) -> None:
    con.execute("SELECT ai_query('echo', 'x', modelParameters => {'max_tokens': 7, 'temperature': 0.5}, seed := 3)")
    parameters = echo.asked[0].parameters
    assert (parameters.max_tokens, parameters.temperature, parameters.seed) == (7, 0.5, 3)
    with pytest.raises(SqlinferError, match=r"no parameter max_token\. Did you mean max_tokens"):
        con.execute("SELECT ai_query('echo', 'x', modelParameters => {'max_token': 7})")


def test_a_response_format_is_text_of_that_form(con: Session) -> None:
    engine = answering(con, '{"a": 1}')
    said = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"a": {}}}}}
    sql = "SELECT ai_query('echo', 'x', responseFormat => '{}')"
    assert con.execute(sql.format(json.dumps(said))).fetchall() == [('{"a": 1}',)]
    assert json.loads(engine.asked[0].schema)["additionalProperties"] is False
    assert con.execute(sql.format("STRUCT<a: INT>")).fetchall() == [({"a": 1},)]


def test_on_a_plain_connection_the_call_says_its_type(direct: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT ai_extract('t', ['type'], returns := 'STRUCT(\"type\" VARCHAR)').type"
    assert direct.execute(sql.replace('"', '\\"')).fetchall() == [("object",)]
