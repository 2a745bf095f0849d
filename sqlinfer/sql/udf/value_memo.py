"""The values of the rows of one statement: a row that comes again, in another chunk or phase, costs no look-up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from sys import getsizeof
from typing import Any

from sqlinfer.sql.udf.call import Call
from sqlinfer.store import KEY_BYTES

_MOST_OPEN = 20_000
_MOST_BYTES = 32 * 2**20
_ROW_BYTES = 160
"""Of a row besides its value."""
_LEAST_HITS = 0.1
_Row = tuple[Any, ...]
_MISSING = object()


class ValueMemo:
    """Values by row, of as many rows of each call as fit, so that what a probe has seen costs the statement itself no
    look-up; and the open calls of the probe that runs, which it has recorded. Where more rows come than fit and hardly
    one comes again, it is left: a digest a row would cost more than it saves."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, _Memo] = {}

    def values(
        self, which: Hashable, rows: Sequence[_Row], probe: object, evaluate: Callable[[Sequence[_Row]], list[Call]]
    ) -> list[Any]:
        """The values of rows. which: tells the calls of one function and its options from others. probe: for which open
        calls stay open. evaluate: the calls of the rows that are not here."""
        memo = self._calls.setdefault(which, _Memo())
        if not memo.is_worth_it:
            return [call.value for call in evaluate(rows)]
        keys = [hashlib.blake2b(repr(row).encode(), digest_size=KEY_BYTES).digest() for row in rows]
        values = [memo.get(key, probe) for key in keys]
        missing = [index for index, value in enumerate(values) if value is _MISSING]
        memo.count(len(rows), len(rows) - len(missing))
        if missing:
            calls = evaluate([rows[index] for index in missing])
            for index, call in zip(missing, calls, strict=True):
                values[index] = call.value
                memo.keep(keys[index], call, probe)
        return values


class _Memo:
    """The values of one call."""

    def __init__(self) -> None:
        self._values: dict[bytes, Any] = {}
        self._open: dict[bytes, object] = {}
        self._num_rows = self._num_hits = self._num_bytes = 0
        self.is_worth_it = True

    def count(self, num_rows: int, num_hits: int) -> None:
        self._num_rows += num_rows
        self._num_hits += num_hits

    def get(self, key: bytes, probe: object) -> Any:
        return self._values.get(key, None if self._open.get(key) is probe else _MISSING)

    def keep(self, key: bytes, call: Call, probe: object) -> None:
        if call.is_open:
            if len(self._open) >= _MOST_OPEN:
                self._open.clear()
            self._open[key] = probe
        elif call.failure is None:
            self._num_bytes += _ROW_BYTES + getsizeof(call.value)
            if self._num_bytes > _MOST_BYTES:
                self.is_worth_it = self._num_hits >= _LEAST_HITS * self._num_rows
                self._num_bytes = 0
                self._values.clear()
            self._values[key] = call.value
