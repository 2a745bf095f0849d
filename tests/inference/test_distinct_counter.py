"""Laws of counting distinct keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sqlinfer.inference.distinct_counter import DistinctCounter

CHUNKS = st.lists(st.lists(st.integers(0, 200), max_size=60), max_size=30)


@given(CHUNKS)
def test_a_key_counts_once_however_the_keys_come(chunks: list[list[int]]) -> None:
    counter, keys = DistinctCounter(), set[int]()
    for chunk in chunks:
        counter.add(number.to_bytes(8, "big") + b"the rest" for number in chunk)
        keys |= set(chunk)
        assert counter.count() == len(keys)
        assert [counter.exceeds(most) for most in (len(keys) - 1, len(keys))] == [True, False]
