"""Numbers as people read them: 1 row, 1.8 GB, 14 %, 2:05 min. Knows nothing of what is counted."""

from __future__ import annotations

import time
from typing import Protocol

_UNITS = ("B", "kB", "MB", "GB", "TB")


class Counts(Protocol):
    """What one job, node or statement counts."""

    @property
    def rows(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def known(self) -> int: ...
    @property
    def generated(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def cut_off(self) -> int: ...


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, in the singular or the plural.

    >>> count(1, "row"), count(1200, "row"), count(2, "retry", "retries")
    ('1 row', '1,200 rows', '2 retries')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def counted(counts: Counts) -> str:
    """The counts of a job as part of a sentence."""
    requests = count(counts.requests, "request")
    cut_off = f", {counts.cut_off:,} cut off at max_tokens" if counts.cut_off else ""
    return f"{requests}: {counts.known:,} known, {counts.generated:,} generated, {counts.failed:,} failed{cut_off}"


def size(num_bytes: float) -> str:
    """Bytes in the unit that leaves one to three digits before the point.

    >>> size(512), size(1776775168)
    ('512 B', '1.8 GB')
    """
    power = 0
    while num_bytes >= 999.5 and power < len(_UNITS) - 1:
        num_bytes, power = num_bytes / 1000, power + 1
    return f"{num_bytes:.{0 if num_bytes >= 99.5 or not power else 1}f} {_UNITS[power]}"


def duration(seconds: float) -> str:
    """Seconds as a time.

    >>> duration(0.04), duration(72.3), duration(7325)
    ('0.0 s', '1:12 min', '2:02:05 h')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def moment(unix_s: float) -> str:
    """A time of this machine's clock, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))


def amount_of(number: float) -> str:
    """A number as messages show it: whole, but for small amounts of money.

    >>> amount_of(12345.6), amount_of(0.0123)
    ('12,346', '0.0123')
    """
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:,.4g}"
