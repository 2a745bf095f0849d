"""The order of the fields of a struct in a prompt: few distinct values first, so that most prompts begin alike.

An order is chosen once, from all requests that a probe recorded, and kept among the answers: it is part of the prompt,
and with another order a run over more rows would compute the old ones again. Field reordering is from Liu et al. 2024,
arXiv 2403.05821. Knows no engine and no SQL.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from threading import Lock

from sqlinfer.inference.distinct_counter import DistinctCounter
from sqlinfer.inference.keyed_request import KeyedRequest, Route
from sqlinfer.store import KEY_BYTES, AnswerCache, AnswerKeys
from sqlinfer.types import AnyRequest, Completion, Generate, Parameters, Text

FieldNames = tuple[str, ...]
_SEVERAL = b"sqlinfer order of columns"


class FieldOrders:
    """The orders that are kept, and what a probe has seen of columns that have none. Safe from several threads."""

    def __init__(self, answers: AnswerCache) -> None:
        self._answers = answers
        self._seen: dict[bytes, _Seen] = {}
        self._lock = Lock()

    def find(self, key: bytes) -> FieldNames | None:
        """The order that was chosen under a key."""
        names = self._answers.texts([key]).get(key)
        return None if names is None else tuple(json.loads(names))

    def note(self, requests: Iterable[KeyedRequest]) -> None:
        """Take note of the values of requests whose order is to be chosen."""
        grouped: dict[bytes, list[KeyedRequest]] = {}
        for request in requests:
            if request.order_key:
                grouped.setdefault(request.order_key, []).append(request)
        for key, group in grouped.items():
            with self._lock:
                seen = self._seen.setdefault(key, _Seen(group[0].route))
            seen.add([json.loads(request.draft.text) for request in group])

    def forget(self) -> None:
        """Forget what was noted."""
        with self._lock:
            self._seen.clear()

    def choose(self) -> bool:
        """Choose and keep the orders of what was noted; whether anything was."""
        with self._lock:
            for key, seen in self._seen.items():
                if self.find(key) is not None:
                    continue  # another thread was first
                chosen = Completion(Generate("", key=key), Text(json.dumps(seen.order)))
                version, function = seen.route.version, seen.route.function
                self._answers.put(chosen, fingerprint=version.fingerprint, function=function.name)
            has_chosen = bool(self._seen)
            self._seen.clear()
            return has_chosen

    def choose_now(self, requests: Iterable[KeyedRequest]) -> None:
        """Choose the order of requests that come with no probe before them, and put them into it."""
        unordered = [request for request in requests if request.order_key]
        if unordered:
            self.note(unordered)
            self.choose()
        for request in unordered:
            names = self.find(request.order_key)
            reorder_fields(request, names or tuple(json.loads(request.draft.text)))


class _Seen:
    """The distinct values of columns, by name."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self._values: dict[str, DistinctCounter] = {}

    def add(self, rows: Sequence[dict[str, object]]) -> None:
        for name in rows[0] if rows else ():
            self._values.setdefault(name, DistinctCounter()).add(_digest(json.dumps(row[name])) for row in rows)

    @property
    def order(self) -> list[str]:
        """Columns of equally many values stay as the user wrote them."""
        return sorted(self._values, key=lambda name: self._values[name].count())


def order_key(keys: AnswerKeys, draft: AnyRequest, parameters: Parameters) -> bytes:
    """The key of the order of a request's fields: of the whole request but their values."""
    names = json.dumps(sorted(json.loads(draft.text)))
    return _digest(keys(replace(draft, text=names), parameters))


def reorder_fields(request: KeyedRequest, names: FieldNames) -> None:
    """Put the fields of a request's text into the order that was chosen; its key is then the final one."""
    keys = AnswerKeys(request.route.version.fingerprint, request.route.function.answer_hash)
    draft = replace(request.draft, text=in_order(request.draft.text, names))
    request.reorder(draft, keys(draft, request.parameters))


def in_order(text: str, names: Iterable[str]) -> str:
    """A JSON object with its fields in an order.

    >>> in_order('{"body":"too late","product":"lamp"}', ("product", "body"))
    '{"product": "lamp", "body": "too late"}'
    """
    values = json.loads(text)
    return json.dumps({name: values[name] for name in names}, ensure_ascii=False)


def _digest(value: str | bytes) -> bytes:
    encoded = value.encode() if isinstance(value, str) else value
    return hashlib.blake2b(encoded, digest_size=KEY_BYTES, key=_SEVERAL).digest()
