"""Batch files: pending requests become lines, and the lines of a server's answers are checked and kept.

Knows no SQL and no network.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlinfer.remote import read_answer_line, request_line
from sqlinfer.store import KEY_BYTES, Store
from sqlinfer.types import AnyRequest, ModelVersion

_WINDOW = 512


def write_requests(
    store: Store, version: ModelVersion, requests: Iterator[AnyRequest], refused: Counter[str]
) -> Iterator[tuple[str, str]]:
    """The lines of some requests of one model version, each with the API that it is for. The store knows them before.
    refused: counts those that no batch file can have, by reason."""
    while window := list(islice(requests, _WINDOW)):
        lines, taken = [], []
        for request in window:
            try:
                line = request_line(version, request)
            except ValueError as error:
                refused[str(error)] += 1
                continue
            taken.append(request)
            lines.append((str(line["url"]), json.dumps(line) + "\n"))
        store.batches.add(version, taken)
        yield from lines


@dataclass(slots=True)
class ImportedAnswers:
    """What came of the lines of answers.

    kept: distinct requests that have an answer now.
    failed: what went wrong with the others, by custom_id, or by the number of a line that has none.
    unknown: the custom_ids of no exported request.
    """

    kept: set[bytes] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def import_answers(
    store: Store, lines: Iterable[str | bytes], imported: ImportedAnswers | None = None
) -> ImportedAnswers:
    """Keep the answers of lines; what fails its check is no answer. imported: of earlier lines, to go on from."""
    imported = imported or ImportedAnswers()
    numbered = enumerate(lines, start=1)
    while window := list(islice(numbered, _WINDOW)):
        _import_window(store, window, imported)
    store.answers.flush()
    for key in imported.kept:
        imported.failed.pop(key.hex(), None)
    return imported


def _import_window(store: Store, window: Sequence[tuple[int, str | bytes]], imported: ImportedAnswers) -> None:
    parsed: list[tuple[str, bytes, dict[str, Any]]] = []
    for number, text in window:
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            custom_id = line["custom_id"]
            parsed.append((str(custom_id), _key_of(str(custom_id)), line))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            imported.failed[f"line {number}"] = f"it is no line of an answers file ({type(error).__name__}: {error})"
    exported = store.batches.find(key for _, key, _ in parsed)
    for custom_id, key, line in parsed:
        if key not in exported:
            imported.unknown.append(custom_id)
            continue
        to = exported[key]
        completion = read_answer_line(to.request, line)
        if completion.error is not None:
            imported.failed[custom_id] = completion.error
        else:
            store.answers.put(completion, fingerprint=to.fingerprint, function=to.function)
            imported.kept.add(key)


def _key_of(custom_id: str) -> bytes:
    """The key that a custom_id is; b"" if it is none."""
    try:
        key = bytes.fromhex(custom_id)
    except ValueError:
        return b""
    return key if len(key) == KEY_BYTES else b""
