"""Admission windows: requests are pulled a window at a time, which bounds what is held in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlinfer.types import AnyRequest

WINDOW_REQUESTS = 1024
WINDOW_CHARACTERS = 8 << 20
FILE_CHARACTERS = 64 << 10  # at least, as a small image is large once it is decoded


def split_windows(requests: Iterable[AnyRequest | None]) -> Iterator[list[AnyRequest]]:
    """Requests in lists that are bounded in number and in text. A None ends the list, which may be empty: more may
    come, and the next list is asked for later."""
    window: list[AnyRequest] = []
    characters = 0
    for request in requests:
        if request is None:
            yield window
            window, characters = [], 0
            continue
        window.append(request)
        characters += len(request.text) + len(getattr(request, "instruction", ""))
        characters += sum(max(len(file), FILE_CHARACTERS) for file in request.files)
        if len(window) >= WINDOW_REQUESTS or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window
