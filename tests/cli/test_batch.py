"""Pending requests go out as batch files, and their answers come back into the cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sqlinfer.store import Store
from tests.cli.conftest import Invoke, last_json
from tests.remote.conftest import server
from tests.remote.faulty_server import FaultyServer, completion, echo

__all__ = ["server"]
Line = dict[str, Any]
Query = Callable[..., str]
ROWS = "SELECT ai_gen('text ' || i) AS answer FROM range(4) t(i)"


@pytest.fixture
def far(home: Path, server: FaultyServer) -> FaultyServer:
    """The model `far` lies on the server."""
    with Store(home) as store:
        store.registry.register("far", f"{server.url}#m")
    return server


@pytest.fixture
def export(invoke: Invoke) -> Callable[..., list[Line]]:
    def lines(sql: str, *words: str) -> list[Line]:
        invoke("batch", "export", "-c", sql, "requests.jsonl", *(words or ("--model", "far")))
        return [json.loads(line) for line in Path("requests.jsonl").read_text(encoding="utf-8").splitlines()]

    return lines


def answer_of(line: Line, body: Line | None = None) -> Line:
    """What a server writes for a line."""
    response = {"status_code": 200, "request_id": "r", "body": body or echo(line["body"])}
    return {"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}


def failed(line: Line, message: str) -> Line:
    return {"id": "b", "custom_id": line["custom_id"], "response": None, "error": {"code": "c", "message": message}}


def write(answers: list[Line], name: str = "answers.jsonl") -> str:
    Path(name).write_text("".join(json.dumps(answer) + "\n" for answer in answers), encoding="utf-8")
    return name


def test_export_asks_nothing_and_writes_what_a_run_sends(
    invoke: Invoke, far: FaultyServer, export: Callable[..., list[Line]]
) -> None:
    lines = export(ROWS)
    assert far.bodies == []
    assert {(line["method"], line["url"], len(bytes.fromhex(line["custom_id"]))) for line in lines} == {
        ("POST", "/v1/chat/completions", 16)
    }
    invoke("run", "-c", ROWS, "--model", "far")
    assert sorted(map(str, far.bodies)) == sorted(str(line["body"]) for line in lines)


@pytest.mark.parametrize(
    "call",
    [
        "ai_gen(x)",
        "ai_classify(x, ['late', 'rude'])",
        "ai_filter(x, 'Is it late?')",
        "ai_embed(x)",
        "ai_query('far', x, returnType := 'STRUCT(city VARCHAR)')",
        "summarize(x)",
        "ai_query('far', {'a': x, 'b': 'same'}, reorder := true)",
    ],
)
def test_after_import_the_run_asks_nothing(
    invoke: Invoke, far: FaultyServer, export: Callable[..., list[Line]], call: str
) -> None:
    sql = f"SELECT count({call}) AS n FROM (VALUES ('late train'), ('rude guard')) t(x)"
    lines = export(sql)
    assert len(lines) == 2
    invoke("batch", "import", write([answer_of(line) for line in lines]))
    assert export(sql) == []
    invoke("run", "-c", sql, "--model", "far")
    assert far.bodies == []


def test_a_nested_call_follows_after_the_import(
    invoke: Invoke, far: FaultyServer, export: Callable[..., list[Line]]
) -> None:
    sql = "SELECT ai_gen(ai_gen('a')) AS x"
    result = invoke("batch", "export", "-c", sql, "requests.jsonl", "--model", "far")
    assert "in the next export" in result.stderr
    invoke("batch", "import", write([answer_of(line) for line in export(sql)]))
    (outer,) = export(sql)
    assert "<a>" in outer["body"]["messages"][0]["content"]


def test_failed_lines_are_named_and_are_no_answers(
    invoke: Invoke, far: FaultyServer, export: Callable[..., list[Line]]
) -> None:
    lines = export(ROWS)
    file = write([answer_of(lines[0]), failed(lines[1], "too busy"), answer_of(lines[2], completion(None))])
    with Path(file).open("a", encoding="utf-8") as more:
        more.write('{"custom_id": "ff", "response": {}}\n{"custom')
    result = invoke("batch", "import", file)
    assert "1 answer kept; 3 exported requests still pending" in result.stdout
    assert f"too busy ({lines[1]['custom_id']})" in result.stderr
    assert "line 5" in result.stderr
    assert "1 answer to no request that was exported here: ff" in result.stderr
    assert len(export(ROWS)) == 3


def test_an_answer_that_does_not_fit_its_request_is_none(
    invoke: Invoke, far: FaultyServer, export: Callable[..., list[Line]]
) -> None:
    (label,) = export("SELECT ai_classify('a', ['x', 'y'])")
    (typed,) = export("SELECT ai_query('far', 'a', returnType := 'STRUCT(n INTEGER)')")
    file = write([answer_of(label, completion('{"answer": "z"}')), answer_of(typed, completion('{"n": "no"}'))])
    result = invoke("batch", "import", file, code=1)
    assert "'z' is none of 'x', 'y'" in result.stderr
    assert "does not fit the schema at n" in result.stderr


def test_a_local_model_has_a_batch_file_for_a_server_of_the_same_model(
    invoke: Invoke, echoing: Any, export: Callable[..., list[Line]]
) -> None:
    lines = export(ROWS, "--model", "echo")
    assert len(lines) == 4
    invoke("batch", "import", write([answer_of(line) for line in lines]))
    assert "<text 3>" in invoke("run", "-c", ROWS, "--model", "echo").stdout
    assert echoing.asked == []


def test_a_file_is_for_one_model(
    invoke: Invoke, far: FaultyServer, export: Callable[..., list[Line]], home: Path
) -> None:
    with Store(home) as store:
        store.registry.register("other", f"{far.url}#other")
    sql = "SELECT ai_query('far', 'a'), ai_query('other', 'b')"
    assert [line["body"]["model"] for line in export(sql, "--model", "other")] == ["other"]
    result = invoke("batch", "export", "-c", sql, "requests.jsonl", code=1)
    assert "far/1 (1), other/1 (1)" in result.stderr


def test_what_no_batch_file_can_have_costs_no_other_request(invoke: Invoke, far: FaultyServer) -> None:
    sql = "SELECT ai_gen('a', num_beams := 4), ai_gen('b')"
    result = invoke("batch", "export", "-c", sql, "requests.jsonl", "--model", "far", "--json")
    assert "1 request left out: num_beams is 4" in result.stderr
    assert last_json(result) == {"requests": 1, "refused": 1, "file": "requests.jsonl"}


def test_the_file_of_a_script_is_never_overwritten(invoke: Invoke, query: Query) -> None:
    result = invoke("batch", "export", query("SELECT 1"), query("SELECT 2", "b.sql"), code=2)
    assert "b.sql' is no name of a batch file" in result.stderr
