"""Laws of how many requests are in flight, and of when the next may go; time is given."""

from __future__ import annotations

import pytest

from sqlinfer.remote.window import MOST, START, Pace, Window, exhausted_s, retry_after_s


def answer_all(window: Window, rounds: int, latency_s: float, start_s: float = 0.0) -> float:
    now_s = start_s
    for _ in range(rounds):
        size = int(window.size)
        for _ in range(size):
            window.note_answer(now_s, now_s + latency_s, size)
        now_s += latency_s
    return now_s


def test_the_window_starts_at_eight_and_doubles_while_the_latency_holds() -> None:
    window = Window()
    assert window.size == START == 8
    answer_all(window, rounds=1, latency_s=1.0)
    assert window.size == 16
    answer_all(window, rounds=20, latency_s=1.0)
    assert window.size == MOST


def test_requests_that_were_in_flight_together_halve_it_once_and_it_grows_slowly_from_then_on() -> None:
    window = Window()
    now_s = answer_all(window, rounds=2, latency_s=1.0)
    for _ in range(20):
        window.note_congestion(sent_s=now_s, now_s=now_s + 1)
    assert window.size == 16
    window.note_congestion(sent_s=now_s + 2, now_s=now_s + 3)
    assert window.size == 8
    answer_all(window, rounds=1, latency_s=1.0, start_s=now_s + 3)
    assert 8 < window.size <= 9.1


def test_it_stops_growing_where_answers_get_slow_and_where_it_is_not_used() -> None:
    window = Window()
    now_s = answer_all(window, rounds=2, latency_s=1.0)
    answer_all(window, rounds=3, latency_s=10.0, start_s=now_s)
    size = window.size
    answer_all(window, rounds=2, latency_s=10.0, start_s=now_s + 30)
    assert window.size == size
    unused = Window()
    for _ in range(50):
        unused.note_answer(0.0, 1.0, in_flight=1)
    assert unused.size == START


def test_it_never_shrinks_below_one() -> None:
    window = Window()
    for second in range(20):
        window.note_congestion(float(second), second + 0.5)
    assert window.size == 1


def test_bounds_a_minute_space_requests_and_tokens() -> None:
    pace = Pace()
    assert [pace.reserve(0.0, 1, 60, None) for _ in range(3)] == [0.0, 1.0, 2.0]
    pace = Pace()
    assert [pace.reserve(0.0, 100, None, 6000) for _ in range(3)] == [0.0, 1.0, 2.0]
    pace.correct_tokens(100, 6000)
    assert pace.reserve(0.0, 1, None, 6000) == 4.0
    pace.pause(9.0)
    assert pace.reserve(0.0, 1, None, None) == 9.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:30 GMT"}, 20.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_each_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now_s=10.0) == seconds


def test_a_limit_that_is_used_up_pauses_until_it_is_renewed() -> None:
    left = {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "9s"}
    assert exhausted_s(left) == 0
    assert exhausted_s({**left, "x-ratelimit-remaining-requests": "0"}) == 9
