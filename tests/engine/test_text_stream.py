"""What is passed on of an answer while it is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sqlinfer.engine.text_stream import TextStream
from sqlinfer.types import Piece


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The pieces of a text whose every byte is a token."""
    monkeypatch.setattr("sqlinfer.engine.text_stream.PERIOD_S", 0.0)

    def push(text: str, *stops: str) -> list[str]:
        pieces: list[Piece] = []
        stream = TextStream(lambda ids: bytes(ids).decode(errors="replace"), stops, pieces.append)
        tokens = list(text.encode())
        for size in range(1, len(tokens) + 1):
            stream.push(tokens[:size], [])
        stream.push(tokens[:1], [])  # an answer that begins again
        return [piece.text for piece in pieces]

    return push


@pytest.mark.parametrize("text", ["Grüße aus 東京 \N{GRINNING FACE}, and so on and on and on.", "aaab"])
def test_a_piece_holds_whole_characters(text: str, pushed: Callable[..., list[str]]) -> None:
    assert "".join(pushed(text)) == text
    assert "\ufffd" not in "".join(pushed(text))


def test_what_may_begin_a_stop_text_waits_until_it_does_not(pushed: Callable[..., list[str]]) -> None:
    assert pushed("a END", " END.") == ["a"]
    assert pushed("a ENDs", " END.") == ["a", " ENDs"]
    assert "".join(pushed("ababac", "abac!")) == "ab"
