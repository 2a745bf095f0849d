"""Messages arrive as they were sent, and what is no message is refused."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlinfer.errors import SqlinferError
from sqlinfer.serve.wire import pack, receive, send, unpack


@given(st.lists(st.none() | st.text(st.characters(codec="utf-8"))))
def test_a_message_is_read_as_it_was_written(message: list[str | None]) -> None:
    assert unpack(pack(message)[4:]) == message


@given(st.lists(st.text(min_size=1), min_size=1), st.data())
def test_a_cut_message_is_refused(message: list[str], data: st.DataObject) -> None:
    body = pack(message)[4:]
    last = len(message[-1].encode("utf-8", "replace"))
    cut = data.draw(st.integers(len(body) - last - 3, len(body) - 1))
    with pytest.raises(SqlinferError, match="middle of a text"):
        unpack(body[:cut])


def test_half_a_surrogate_pair_does_not_cost_the_message() -> None:
    assert unpack(pack(["a\ud800b"])[4:]) == ["a?b"]


def test_large_messages_and_the_end_come_over_a_socket() -> None:
    one, other = socket.socketpair()
    texts = ["x" * 3_000_000, None, "é"]
    sender = threading.Thread(target=send, args=(one, texts))
    with one, other:
        sender.start()
        assert receive(other) == texts
        sender.join()
        with pytest.raises(SqlinferError, match="longer than"):
            send(one, ["x" * 100])
            receive(other, most_bytes=50)
        one.close()
        assert other.recv(104) == pack(["x" * 100])[4:]
        assert receive(other) is None
