"""Who may ask a server, and what it answers."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sqlinfer import __version__
from sqlinfer.errors import SqlinferError
from sqlinfer.serve.address import socket_path
from sqlinfer.serve.client import connect, exchange
from sqlinfer.serve.context import Context, local_context, read_context
from sqlinfer.serve.launch import ensure_server, running_server
from sqlinfer.serve.server import MOST_UNAUTHENTICATED, Server
from sqlinfer.serve.service import Service
from sqlinfer.serve.wire import pack, receive, send
from tests.conftest import EchoEngine

ROOT = Path(__file__).parents[2]
CALL: list[str | None] = ["call", "", "ai_gen", "{}", '["hi"]']


def test_the_socket_is_for_its_owner_alone_and_goes_with_the_server(server: Server) -> None:
    path = socket_path()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(SqlinferError, match="runs already, PID"):
        Server(server._service).listen(path)
    server.stop.set()
    until = threading.Event()
    while path.exists():
        until.wait(0.05)


def test_a_server_that_was_killed_leaves_its_place_to_the_next(service: Service) -> None:
    path = socket_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = Server(service)
    server.listen(path)
    server.stop.set()
    server.run()
    assert not path.exists()


def test_a_server_that_nobody_needs_ends(service: Service) -> None:
    server = Server(service, idle_s=0.0)
    server.listen(socket_path())
    server.run()


@pytest.fixture
def remote(service: Service) -> Iterator[str]:
    """The address of a server on TCP and on the Unix socket."""
    server = Server(service, token="open sesame")
    address = server.listen_on_tcp("127.0.0.1", 0)
    server.listen(socket_path())
    thread = threading.Thread(target=server.run)
    thread.start()
    yield address
    server.stop.set()
    thread.join()


def test_tcp_answers_those_who_know_the_token(service: Service, remote: str) -> None:
    assert exchange(remote, CALL, token="open sesame") == ["<hi>"]
    with pytest.raises(SqlinferError, match="refuses this token"):
        exchange(remote, ["hello"], token="guess")
    with connect(remote) as rude:
        send(rude, CALL)
        answer = receive(rude)
        assert answer is not None
        assert answer[0] == "error"
        assert receive(rude) is None
    with pytest.raises(SqlinferError, match="needs a token"):
        Server(service).listen_on_tcp("127.0.0.1", 0)


def test_folders_of_functions_are_for_local_clients_whoever_used_them_before(remote: str, tmp_path: Path) -> None:
    context = str(Context(udfs=(str(tmp_path),)))
    assert exchange(str(socket_path()), ["call", context, "ai_gen", "{}", '["hi"]']) == ["<hi>"]
    for other in (context, f" {context}", str(Context(udfs=()))):
        for message in (["call", other, "ai_gen", "{}", '["hi"]'], ["macros", other, remote]):
            with pytest.raises(SqlinferError, match="the server's machine"):
                exchange(remote, message, token="open sesame")


def test_the_token_must_be_there_in_time_however_it_comes(remote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlinfer.serve.server.AUTHENTICATION_S", 0.5)
    with connect(remote) as slow, pytest.raises(ConnectionError):
        for byte in pack(["token", "open sesame"]):
            slow.sendall(bytes([byte]))
            threading.Event().wait(0.1)


def test_connections_without_a_token_shut_nobody_out(remote: str) -> None:
    with ExitStack() as stack:
        rude = [stack.enter_context(connect(remote)) for _ in range(MOST_UNAUTHENTICATED + 20)]
        assert exchange(remote, CALL, token="open sesame") == ["<hi>"]
        assert exchange(str(socket_path()), CALL) == ["<hi>"]
        for each in rude[:10]:  # the oldest ones gave way
            assert receive(each) is None


def test_a_server_without_descriptors_waits_and_goes_on(home: Path, registered: None) -> None:
    """The server is a process of its own, with few descriptors."""
    code = (
        "import resource, os; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "
        "from sqlinfer.cli import main; main(['serve', '--model', 'echo'])"
    )
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        try:
            while running_server() is None:
                threading.Event().wait(0.05)
            with ExitStack() as stack:
                waiting = [stack.enter_context(connect(str(socket_path()))) for _ in range(80)]
                before = cpu_seconds(process.pid)
                threading.Event().wait(1.0)
                assert cpu_seconds(process.pid) - before < 0.5
                for each in waiting[:40]:
                    each.close()
                assert running_server() is not None
        finally:
            process.terminate()


def test_a_server_of_another_version_is_started_anew_but_one_started_by_hand_is_left(
    home: Path, registered: None, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "import sys; from sqlinfer.serve import service; service.__version__ = '0.0.1'; "
        "from sqlinfer.cli import main; main(['serve', '--model', 'echo', *sys.argv[1:]])"
    )
    for options in ([], ["--idle", "300"]):
        command = [sys.executable, "-c", code, *options]
        with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
            while (old := running_server()) is None:
                threading.Event().wait(0.05)
            assert (old.version, old.pid, old.ends_itself) == ("0.0.1", process.pid, bool(options))
            if not options:
                with pytest.raises(SqlinferError, match=rf"is sqlinfer 0\.0\.1, and this is .*kill {process.pid}"):
                    ensure_server()
                assert running_server() == old
                process.terminate()
                continue
            ensure_server()
            new = running_server()
            assert new is not None
            os.kill(new.pid, signal.SIGTERM)
            assert new.version == __version__
            assert process.wait() == 0
            assert "is sqlinfer 0.0.1" in caplog.text


def test_a_server_that_does_not_answer_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlinfer.serve.launch.HELLO_S", 0.1)
    home.mkdir()
    (home / "serve.lock").write_text("4711")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(socket_path()))
        silent.listen()
        with pytest.raises(SqlinferError, match=r"does not answer\. End it: kill 4711"):
            ensure_server()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    "body",
    [b"\x09\0\0\0hello", b"\x01\0\0\0\xff", b"\x01\0"],
    ids=["a cut text", "a text that is not UTF-8", "a cut size"],
)
def test_what_is_no_message_is_answered_by_an_error_before_the_connection_ends(server: Server, body: bytes) -> None:
    with connect(str(socket_path())) as connection:
        connection.sendall(len(body).to_bytes(4, "little") + body)
        answer = receive(connection)
        assert answer is not None
        assert answer[0] == "error"
        assert receive(connection) is None
    assert exchange(str(socket_path()), CALL) == ["<hi>"]


def test_equal_rows_are_asked_once_and_options_hold_until_they_change(server: Server, echo: EchoEngine) -> None:
    rows = ['{"max_tokens": 3}', '["a"]', None, '["a"]', None, "[null]", '{"max_tokens": 4}', '["a"]']
    assert exchange(str(socket_path()), ["call", "", "ai_gen", *rows]) == ["<a>", "<a>", None, "<a>"]
    assert [request.parameters.max_tokens for request in echo.asked] == [3, 4]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (["cal"], "no message 'cal'. Did you mean call"),
        ([], "no message ''"),
        (["macros"], "wrong number of texts"),
        (["call", "", "ai_gen", "{}"], "OPTIONS and no ARGUMENTS"),
        (["call", "", "ai_gen", "{}", '["a"]', None], "OPTIONS and no ARGUMENTS"),
        (["call", "", "ai_gen", "[]", '["a"]'], "a JSON object, the OPTIONS of a row, not '[]'"),
        (["call", "", "ai_gen", "{}", '"a"'], "a JSON array, the ARGUMENTS of a row, not '\"a\"'"),
        (["call", "", "ai_gen", "{}", "["], "a JSON array, the ARGUMENTS of a row, not '['"),
        (["call", "", "ai_gen", "{}", "[" * 100_000], "a JSON array, the ARGUMENTS of a row"),
        (["call", "", "ai_gen", "{}", '["a"],["b"]'], "a JSON array, the ARGUMENTS of a row"),
        (["call", "", "ai_gen", "{}", '["a", "b"]'], "each row of a call of ai_gen(prompt) has 1 ARGUMENTS"),
        (["call", '{"udfs": 1}', "ai_gen", "{}", '["a"]'], "below udfs a list of them"),
        (["call", '{"model": []}', "ai_gen", "{}", '["a"]'], "the context of a call has texts"),
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
        monkeypatch.setattr("sqlinfer.serve.service.REMEMBERED_S", 1000.0)
        assert [fail(connection, text) for text in ("boom", "boom", "other boom", "boom")] == [1, 1, 2, 3]
        monkeypatch.setattr("sqlinfer.serve.service.REMEMBERED_S", 0.0)
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
        assert exchange(str(socket_path()), ["call", context, "shout", "{}", '["hi"]']) == [value]


def test_what_was_asked_is_a_job(server: Server, service: Service) -> None:
    exchange(str(socket_path()), ["call", "", "ai_gen", "{}", '["a"]', None, '["b"]'])
    service.close()
    jobs = service.runtime.store.jobs.list()
    assert [(job.statement, job.state, job.requests, job.generated) for job in jobs] == [
        ("sqlinfer serve: echo/1", "done", 2, 2)
    ]
    assert jobs[0].models == ("echo/1",)
