"""The values of the rows of one statement: a row that comes again, in another chunk or phase, costs no look-up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from sqlinfer.sql.udf.call import Call
from sqlinfer.store import KEY_BYTES

_MOST_ROWS = 20_000
_Row = tuple[Any, ...]
_MISSING = object()


class ValueMemo:
    """Values by row, of as many rows of each call as fit; and the open calls of the probe that runs, which it has
    recorded."""

    def __init__(self) -> None:
        self._values: dict[Hashable, dict[bytes, Any]] = {}
        self._open: dict[Hashable, dict[bytes, object]] = {}

    def values(
        self, which: Hashable, rows: Sequence[_Row], probe: object, evaluate: Callable[[Sequence[_Row]], list[Call]]
    ) -> list[Any]:
        """The values of rows. which: tells the calls of one function and its options from others. probe: for which open
        calls stay open. evaluate: the calls of the rows that are not here."""
        kept, still_open = self._values.setdefault(which, {}), self._open.setdefault(which, {})
        keys = [hashlib.blake2b(repr(row).encode(), digest_size=KEY_BYTES).digest() for row in rows]
        values = [kept.get(key, None if still_open.get(key) is probe else _MISSING) for key in keys]
        missing = [index for index, value in enumerate(values) if value is _MISSING]
        if missing:
            calls = evaluate([rows[index] for index in missing])
            for index, call in zip(missing, calls, strict=True):
                values[index] = call.value
                if call.is_open:
                    _keep(still_open, keys[index], probe)
                elif call.failure is None:
                    _keep(kept, keys[index], call.value)
        return values


def _keep(among: dict[bytes, Any], key: bytes, value: Any) -> None:
    if len(among) >= _MOST_ROWS:
        among.clear()
    among[key] = value
