"""Who may ask a server, and what it answers."""

from __future__ import annotations

import socket
import stat
import threading
from pathlib import Path

import pytest

from sqlinfer.errors import SqlinferError
from sqlinfer.serve.address import ask, socket_path
from sqlinfer.serve.calls import Calls
from sqlinfer.serve.context import Context, local_context, read_context
from sqlinfer.serve.server import Server
from sqlinfer.serve.wire import receive, send
from tests.conftest import EchoEngine


def test_the_socket_is_for_its_owner_alone_and_goes_with_the_server(server: Server) -> None:
    path = socket_path()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(SqlinferError, match="runs already, PID"):
        Server(server._calls).listen(path)
    server.stop.set()
    until = threading.Event()
    while path.exists():
        until.wait(0.05)


def test_a_server_that_was_killed_leaves_its_place_to_the_next(calls: Calls) -> None:
    path = socket_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = Server(calls)
    server.listen(path)
    server.stop.set()
    server.run()
    assert not path.exists()


def test_a_server_that_nobody_needs_ends(calls: Calls) -> None:
    server = Server(calls, idle_s=0.0)
    server.listen(socket_path())
    server.run()


def test_tcp_answers_those_who_know_the_token(calls: Calls) -> None:
    server = Server(calls, token="open sesame")
    address = server.listen_on_tcp("127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert ask(address, ["call", "", "ai_gen", "{}", '["hi"]'], token="open sesame") == ["<hi>"]
        with pytest.raises(SqlinferError, match="refuses this token"):
            ask(address, ["hello"], token="guess")
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port))) as rude:
            send(rude, ["call", "", "ai_gen", "{}", '["hi"]'])
            answer = receive(rude)
            assert answer is not None
            assert answer[0] == "error"
            assert receive(rude) is None
        folder = str(Context(udfs=("/tmp",)))
        with pytest.raises(SqlinferError, match="the server's machine"):
            ask(address, ["call", folder, "ai_gen", "{}", '["hi"]'], token="open sesame")
    finally:
        server.stop.set()
        thread.join()
    with pytest.raises(SqlinferError, match="needs a token"):
        Server(calls).listen_on_tcp("127.0.0.1", 0)


def test_equal_rows_are_asked_once_and_options_hold_until_they_change(server: Server, echo: EchoEngine) -> None:
    rows = ['{"max_tokens": 3}', '["a"]', None, '["a"]', None, "[null]", '{"max_tokens": 4}', '["a"]']
    assert ask(str(socket_path()), ["call", "", "ai_gen", *rows]) == ["<a>", "<a>", None, "<a>"]
    assert [request.parameters.max_tokens for request in echo.asked] == [3, 4]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (["cal"], "no message 'cal'. Did you mean call"),
        ([], "no message ''"),
        (["macros"], "wrong number of texts"),
        (["call", "", "ai_gne", "{}", "[]"], "no function is named ai_gne. Did you mean ai_gen"),
        (["call", "{", "ai_gen", "{}", '["a"]'], "must be a JSON object"),
        (["call", '{"modle": 1}', "ai_gen", "{}", '["a"]'], "no modle. Did you mean model"),
        (["call", "", "ai_gen", '{"model": "nosuch"}', '["a"]'], "No model 'nosuch'"),
        (["call", "", "ai_gen", '{"max_tokens": 0}', '["a"]'], "at least 1, not 0"),
        (["call", "", "ai_gen", "{}", '["boom"]'], "the model gave no answer"),
    ],
)
def test_an_error_names_what_was_wrong_and_the_line_stays_open(
    server: Server, message: list[str | None], said: str
) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(socket_path()))
        send(connection, message)
        answer = receive(connection)
        assert answer is not None
        assert answer[0] == "error"
        assert said in str(answer[1])
        send(connection, ["call", "", "ai_gen", "{}", '["b"]'])
        assert receive(connection) == ["ok", "<b>"]


def test_a_call_of_one_row_that_has_just_failed_is_not_asked_again(
    server: Server, echo: EchoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: socket.socket, text: str) -> int:
        send(connection, ["call", "", "ai_gen", "{}", f'["{text}"]'])
        answer = receive(connection)
        assert answer is not None
        assert "the model gave no answer" in str(answer[1])
        return len(echo.asked)

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(socket_path()))
        monkeypatch.setattr("sqlinfer.serve.calls.REMEMBERED_S", 1000.0)
        assert [fail(connection, text) for text in ("boom", "boom", "other boom", "boom")] == [1, 1, 2, 3]
        monkeypatch.setattr("sqlinfer.serve.calls.REMEMBERED_S", 0.0)
        assert fail(connection, "boom") == 4


def test_an_edited_function_is_loaded_anew(server: Server, tmp_path: Path) -> None:
    udfs = tmp_path / "udfs"
    udfs.mkdir()
    file = udfs / "shout.py"
    code = "from sqlinfer import Request\n\n\ndef shout(text: str) -> Request:\n    'Shout.'\n    return Request(%s)\n"
    for body, value in (("text.upper()", "<HI>"), ("text + '!!'", "<hi!!>")):
        file.write_text(code % body)
        context = str(local_context(None, [udfs, tmp_path / "absent"]))
        assert read_context(context).udfs == (str(udfs.resolve()),)
        assert ask(str(socket_path()), ["call", context, "shout", "{}", '["hi"]']) == [value]


def test_what_was_asked_is_a_job(server: Server, calls: Calls) -> None:
    ask(str(socket_path()), ["call", "", "ai_gen", "{}", '["a"]', None, '["b"]'])
    calls.close()
    jobs = calls.runtime.store.jobs.list()
    assert [(job.statement, job.state, job.requests, job.generated) for job in jobs] == [
        ("sqlinfer serve: echo/1", "done", 2, 2)
    ]
    assert jobs[0].models == ("echo/1",)
