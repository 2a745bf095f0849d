"""How fast a server is asked: requests in flight by what it bears, pauses by its limits. Knows no network, no clock.

The window works as TCP's does: it doubles until the first sign of congestion, halves at each one, and grows by one a
round from then on (additive increase, multiplicative decrease: Chiu and Jain 1989).
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping

START = 8.0
MOST = 256
_SLOWER = 2.0
"""Latency, as a multiple of the best, at which the window stops growing."""
_SMOOTHING = 0.1
_SETTLED = 8
"""Answers after which a latency says something."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}


class Window:
    """How many requests may be in flight. size: now."""

    def __init__(self) -> None:
        self.size = START
        self._is_starting = True
        self._halved_s = 0.0
        self._latency_s = 0.0
        self._best_s = 0.0
        self._num_answers = 0

    def note_answer(self, sent_s: float, now_s: float, in_flight: int) -> None:
        """Grow, if the window is used and the latency holds."""
        latency_s = now_s - sent_s
        self._num_answers += 1
        weight = max(_SMOOTHING, 1 / self._num_answers)
        self._latency_s += weight * (latency_s - self._latency_s)
        if self._num_answers <= _SETTLED or self._latency_s < self._best_s:
            self._best_s = self._latency_s
        if in_flight >= self.size // 2 and self._latency_s <= _SLOWER * self._best_s:
            self.size = min(MOST, self.size + (1 if self._is_starting else 1 / self.size))

    def note_congestion(self, sent_s: float, now_s: float) -> None:
        """Halve, once for all requests that were in flight together."""
        if sent_s >= self._halved_s:
            self.size = max(1.0, self.size / 2)
            self._halved_s, self._is_starting = now_s, False


class Pace:
    """When the next request may go: after the pauses that the server asks for, and within bounds a minute."""

    def __init__(self) -> None:
        self._paused_until_s = 0.0
        self._request_s = 0.0
        self._token_s = 0.0

    def pause(self, until_s: float) -> None:
        """Send nothing before."""
        self._paused_until_s = max(self._paused_until_s, until_s)

    def reserve(self, now_s: float, tokens: int, requests_a_minute: int | None, tokens_a_minute: int | None) -> float:
        """Take the next place; the time at which it is."""
        start_s = max(now_s, self._paused_until_s)
        if requests_a_minute is not None:
            start_s = max(start_s, self._request_s)
            self._request_s = start_s + 60 / requests_a_minute
        if tokens_a_minute is not None:
            start_s = max(start_s, self._token_s)
            self._token_s = start_s + 60 * tokens / tokens_a_minute
        return start_s

    @property
    def paused_until_s(self) -> float:
        """The end of the last pause."""
        return self._paused_until_s

    def correct_tokens(self, more: int, tokens_a_minute: int | None) -> None:
        """Count tokens that a request used beyond those that its place was taken for."""
        if tokens_a_minute is not None:
            self._token_s += 60 * more / tokens_a_minute


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """The seconds to wait that a refusal names; now_s: unix seconds.

    >>> retry_after_s({"retry-after": "2"}, 0), retry_after_s({"retry-after-ms": "250"}, 0), retry_after_s({}, 0)
    (2.0, 0.25, None)
    """
    milliseconds, after = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    if milliseconds.isdigit():
        return int(milliseconds) / 1000
    if after and (seconds := _duration_s(after)) is not None:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(after).timestamp() - now_s)
    except ValueError:
        return None


def exhausted_s(headers: Mapping[str, str]) -> float:
    """The seconds until a limit that is used up is renewed, from an answer's rate headers; 0 if none is used up.

    >>> exhausted_s({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m0.5s"})
    60.5
    """
    waits = [0.0]
    for unit in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{unit}", "").strip() == "0":
            waits.append(_duration_s(headers.get(f"x-ratelimit-reset-{unit}", "")) or 0.0)
    return max(waits)


def _duration_s(text: str) -> float | None:
    """The seconds of '6m0s', '250ms', '1.5' or the like; None for another text."""
    parts = _DURATION.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    return sum(float(number) * _UNITS[unit or None] for number, unit in parts)
