"""Requests join a batch that runs, leave it with their ends, and are never lost."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from sqlinfer.errors import Interrupted
from sqlinfer.inference.live_batch import LiveBatches, QueueFull
from sqlinfer.types import AnyRequest, Cancel, Completion, ModelVersion, Request, Text

VERSION = ModelVersion("steps", 1, "steps", Path(), "fingerprint")
WAIT_S = 20


class StepEngine:
    """Ends each request after as many steps as its text says; "broken" raises. gate: waited for before each step."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.num_runs = 0

    def generate(self, requests: Iterable[AnyRequest | None], cancel: Cancel | None = None) -> Iterator[Completion]:
        self.num_runs += 1
        left: dict[int, list[Any]] = {}
        for request in requests:
            if request is not None:
                if request.text == "broken":
                    raise RuntimeError("the device is gone")
                left[id(request)] = [request, int(request.text)]
                continue
            assert left
            while not self.gate.acquire(timeout=0.01):
                if cancel is not None and cancel.is_set():
                    return
            for row in list(left.values()):
                row[1] -= 1
                if row[1] == 0:
                    del left[id(row[0])]
                    yield Completion(row[0], Text(row[0].text))


@pytest.fixture
def engine() -> StepEngine:
    return StepEngine()


@pytest.fixture
def batches(engine: StepEngine) -> Iterator[LiveBatches]:
    batches = LiveBatches(lambda _: engine, max_requests=3)
    yield batches
    batches.close()


class Ends:
    """The ends of requests, in order of coming."""

    def __init__(self) -> None:
        self._ends: SimpleQueue[Any] = SimpleQueue()

    def request(self, text: str) -> Request:
        return Request(text, route=self._ends.put)

    def next(self) -> Any:
        end = self._ends.get(timeout=WAIT_S)
        return end.request.text if isinstance(end, Completion) else end


def test_a_request_joins_the_running_batch(engine: StepEngine, batches: LiveBatches) -> None:
    ends = Ends()
    batches.submit(VERSION, [ends.request("5")])
    engine.gate.release()
    batches.submit(VERSION, [ends.request("2")])
    engine.gate.release(9)
    assert [ends.next(), ends.next()] == ["2", "5"]
    assert engine.num_runs == 1


def test_equal_requests_each_have_an_end(engine: StepEngine, batches: LiveBatches) -> None:
    ends = Ends()
    batches.submit(VERSION, [ends.request("1"), ends.request("1")])
    engine.gate.release(9)
    assert [ends.next(), ends.next()] == ["1", "1"]
    batches.submit(VERSION, [ends.request("1")])  # to a batch that is idle
    assert ends.next() == "1"
    assert batches.num_requests == 0


def test_an_error_ends_all_of_a_batch_and_the_next_runs(engine: StepEngine, batches: LiveBatches) -> None:
    ends = Ends()
    batches.submit(VERSION, [ends.request("5"), ends.request("broken")])
    assert {str(ends.next()), str(ends.next())} == {"the device is gone"}
    batches.submit(VERSION, [ends.request("1")])
    engine.gate.release()
    assert ends.next() == "1"


def test_a_full_queue_takes_none_of_a_call(engine: StepEngine, batches: LiveBatches) -> None:
    ends = Ends()
    batches.submit(VERSION, [ends.request("1"), ends.request("1")])
    with pytest.raises(QueueFull, match="2 requests wait or run, and the queue takes 3"):
        batches.submit(VERSION, [ends.request("1"), ends.request("1")])
    assert batches.num_requests == 2


def test_closing_ends_what_is_unfinished(batches: LiveBatches) -> None:
    ends = Ends()
    batches.submit(VERSION, [ends.request("1"), ends.request("2")])
    batches.close()
    assert [type(ends.next()), type(ends.next())] == [Interrupted, Interrupted]
    batches.submit(VERSION, [ends.request("1")])
    assert isinstance(ends.next(), Interrupted)
