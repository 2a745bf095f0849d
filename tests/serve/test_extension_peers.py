"""The extension against peers that answer late, wrong or never, forked processes, and SQL that names a server."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from sqlinfer.serve.address import socket_path
from sqlinfer.serve.server import Server
from sqlinfer.serve.service import Service
from sqlinfer.serve.wire import Message, pack, receive
from tests.serve.conftest import Connect

Answer = Callable[[Message], bytes]
Peer = Callable[[Answer], str]


@pytest.fixture
def plain(extension: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the extension alone."""
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.execute(f"LOAD '{extension}'")
        connection.execute("SET threads = 1")
        yield connection


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """Starts servers that answer each message as they are told; gives their addresses."""
    listeners: list[socket.socket] = []

    def start(answer: Answer) -> str:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / f"{len(listeners)}.sock"))
        listener.listen()
        listeners.append(listener)
        threading.Thread(target=accept, args=(listener, answer), daemon=True).start()
        return str(listener.getsockname())

    def accept(listener: socket.socket, answer: Answer) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection, answer), daemon=True).start()

    def serve(connection: socket.socket, answer: Answer) -> None:
        with connection, suppress(ConnectionError):
            while (message := receive(connection)) is not None:
                connection.sendall(answer(message))

    yield start
    for listener in listeners:
        listener.close()


def call(connection: duckdb.DuckDBPyConnection, address: str, argument: str = "x") -> object:
    sql = "SELECT __sqlinfer_call(?, '', 'f', '{}', x) FROM (SELECT CASE i WHEN 0 THEN ? END AS x FROM range(1) t(i))"
    row = connection.execute(sql, [address, argument]).fetchone()  # not of constants, which DuckDB tries many times
    assert row is not None
    return row[0]


WRONG = {
    "no value": pack(["ok"]),
    "two values": pack(["ok", "a", "b"]),
    "no status": pack(["a"]),
    "an empty message": pack([]),
    "an error without a text": pack(["error"]),
    "an error of two texts": pack(["error", "a", "b"]),
    "a text that is cut off": b"\x0a\0\0\0" + pack(["ok"])[4:] + b"\x09\0\0\0",
    "a text that is not UTF-8": pack(["ok", "abcd"]).replace(b"abcd", b"a\xffcd"),
    "half of a surrogate pair": pack(["ok", "abc"]).replace(b"abc", b"\xed\xa0\x80"),
    "an overlong character": pack(["ok", "ab"]).replace(b"ab", b"\xc0\xaf"),
    "a character that is cut off": pack(["ok", "ab"]).replace(b"ab", b"a\xe6"),
    "an error that is not UTF-8": pack(["error", "abcd"]).replace(b"abcd", b"a\xffcd"),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_an_answer_that_is_not_understood_is_an_error_and_ends_the_connection(
    plain: duckdb.DuckDBPyConnection, peer: Peer, answer: bytes
) -> None:
    address = peer(lambda message: answer if message[-1] == "first" else pack(["ok", message[-1]]))
    with pytest.raises(duckdb.Error, match="not understood; is it a sqlinfer server"):
        call(plain, address, "first")
    assert [call(plain, address, text) for text in ("second", "é漢🎉\0", "")] == ["second", "é漢🎉\0", ""]


def test_no_answer_is_taken_for_that_of_another_call(plain: duckdb.DuckDBPyConnection, peer: Peer) -> None:
    address = peer(lambda message: pack(["ok", message[-1]]) * 2)  # the second one is late for this call
    assert [call(plain, address, text) for text in ("a", "b", "c")] == ["a", "b", "c"]


def test_a_forked_process_has_connections_of_its_own(plain: duckdb.DuckDBPyConnection, peer: Peer) -> None:
    address = peer(lambda message: pack(["ok", message[-1]]))
    assert call(plain, address) == "x"
    child = os.fork()
    wrong = sum(call(plain, address, f"{child} {number}") != f"{child} {number}" for number in range(300))
    if child == 0:
        os._exit(min(wrong, 100))
    _, status = os.waitpid(child, 0)
    assert (wrong, os.waitstatus_to_exitcode(status)) == (0, 0)


def test_sql_cannot_name_a_server_on_the_network(
    plain: duckdb.DuckDBPyConnection, loaded: Connect, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLINFER_TOKEN", "open sesame")
    with socket.create_server(("127.0.0.1", 0)) as other:
        other_address = f"127.0.0.1:{other.getsockname()[1]}"
        other.settimeout(0)
        with pytest.raises(duckdb.Error, match="SQL alone cannot name a server"):
            call(plain, other_address)
        remote = Server(service, token="open sesame")
        address = remote.listen_on_tcp("127.0.0.1", 0)
        thread = threading.Thread(target=remote.run)
        thread.start()
        monkeypatch.setenv("SQLINFER_SERVER", address)
        try:
            sql = f"SELECT __sqlinfer_call('{address}', '', 'ai_gen', '{{}}', '[\"hi\"]')"
            assert plain.execute(sql).fetchone() == ("<hi>",)
            for elsewhere in (other_address, address.replace("127.0.0.1", "localhost"), str(socket_path())):
                with pytest.raises(duckdb.Error, match=f"may call the server at {address}"):
                    call(plain, elsewhere)
        finally:
            remote.stop.set()
            thread.join()
        with pytest.raises(BlockingIOError):
            other.accept()
    monkeypatch.delenv("SQLINFER_SERVER")
    assert loaded().execute("SELECT ai_gen('hi')").fetchone() == ("<hi>",)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("/" + "x" * 108, "too long for the path of a socket"),
        ("/nowhere/serve.sock", r"no sqlinfer server answers at /nowhere/serve.sock \(No such file"),
        ("nowhere", "'nowhere' is no address of a server: HOST:PORT"),
        ("nowhere:", "no address of a server"),
        ("nowhere:http", "no address of a server"),
        (":7788", "no address of a server"),
        ("x" * 300 + ":7788", "no address of a server"),
        ("no.such.host.invalid:7788", "host no.such.host.invalid is not known"),
        ("[::1]:1", r"no sqlinfer server answers at \[::1\]:1 \("),
        ("é" * 5000 + ":1", "sqlinfer: 'éé"),
        ("x" + "é" * 5000 + ":1", "sqlinfer: 'xéé"),
    ],
)
def test_an_address_without_a_server_says_what_is_wrong(
    plain: duckdb.DuckDBPyConnection, address: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not address.startswith("/"):
        monkeypatch.setenv("SQLINFER_SERVER", address)
    with pytest.raises(duckdb.Error, match=says) as raised:
        call(plain, address)
    assert "Success" not in str(raised.value)
