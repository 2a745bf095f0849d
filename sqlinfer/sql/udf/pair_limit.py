"""Bounds what a statement computes for pairs of rows of two tables: pairs are many, however the statement asks them."""

from __future__ import annotations

from collections.abc import Collection

from sqlinfer.errors import StoppedEarly
from sqlinfer.inference.distinct_counter import DistinctCounter
from sqlinfer.inference.job import Job
from sqlinfer.inference.keyed_request import KeyedRequest
from sqlinfer.units import count


class PairLimit:
    """The requests of one statement. functions: those that it computes for pairs."""

    def __init__(self, functions: Collection[str] = ()) -> None:
        self._counters = {function: DistinctCounter() for function in functions}

    def check(self, requests: Collection[KeyedRequest], job: Job) -> None:
        """Count requests of one function that have no answer; refuse them if there are more than max_pairs in all."""
        route = next((request.route for request in requests), None)
        if route is None or route.function.name not in self._counters:
            return
        most = job.runtime.settings.over(route.version.settings).max_pairs
        counter = self._counters[route.function.name]
        counter.add(request.key for request in requests if not request.order_key)
        if most is not None and counter.exceeds(most):
            num_kept = job.counts.computed
            kept = f"{count(num_kept, 'request')} had been computed, and the answers are kept" if num_kept else ""
            raise StoppedEarly(
                f"{route.function.name} is about to be computed for more than {most:,} pairs of rows of two tables. "
                f"Put a cheap condition beside it (a.city = b.city AND ..), or allow more: --max-pairs on the command "
                f"line, SET sqlinfer_max_pairs = .. in SQL, -1 for any number. {kept or 'Nothing was computed'}"
            )
