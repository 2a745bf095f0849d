"""What calls bring at the same time is asked together, once, and ends for each as it should."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sqlinfer.errors import Interrupted, ModelUnusable, RequestsFailed
from sqlinfer.functions import load_functions
from sqlinfer.inference.request_queue import RequestQueue
from sqlinfer.inference.runner import JobRunner
from sqlinfer.inference.runtime import Runtime
from sqlinfer.sql.direct_mode import engine_queue, recorded_queue
from sqlinfer.sql.udf.cache_misses import Queue
from sqlinfer.sql.udf.evaluator import CallEvaluator
from sqlinfer.store import Store
from sqlinfer.types import Completion, Request, Text
from tests.conftest import EchoEngine

Ask = Callable[..., list[Any]]


class Gated(EchoEngine):
    """Takes requests only once the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.gate = threading.Event(), threading.Event()

    def generate(self, requests: Iterable[Request], cancel: Any = None) -> Iterator[Completion]:
        self.began.set()
        assert self.gate.wait(10)
        yield from super().generate(requests, cancel)


class Queued:
    """A queue on an engine, and calls that ask it."""

    def __init__(
        self, store: Store, engine: EchoEngine, make_queue: Callable[[Runtime], RequestQueue] = engine_queue
    ) -> None:
        self.runtime = Runtime(store, load_functions(), model="echo")
        self.runtime.open_engine = lambda version: engine
        self.queue: RequestQueue = make_queue(self.runtime)

    def ask(self, *texts: str, cancel: threading.Event | None = None) -> list[Any]:
        evaluator = CallEvaluator(JobRunner(self.runtime), Queue(self.queue, cancel or threading.Event()))
        return evaluator.values(self.runtime.functions["ai_gen"], (), [(text,) for text in texts])


@pytest.fixture
def engine() -> Gated:
    return Gated()


@pytest.fixture
def queued(registered: None, engine: Gated) -> Iterator[Queued]:
    with Store() as store:
        queued = Queued(store, engine)
        yield queued
        engine.gate.set()
        queued.queue.close()


def test_calls_that_come_together_share_one_run_and_equal_questions(queued: Queued, engine: Gated) -> None:
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(queued.ask, "all", f"own {i}") for i in range(8)]
        assert engine.began.wait(10)
        while len(queued.queue._entries) < 9:
            threading.Event().wait(0.01)
        engine.gate.set()
        assert [call.result(10) for call in calls] == [["<all>", f"<own {i}>"] for i in range(8)]
    assert sorted(engine.texts) == sorted(["all", *(f"own {i}" for i in range(8))])
    assert sum(engine.batches) == 9
    assert len(engine.batches) < 8


def test_a_call_that_is_stopped_leaves_nothing_to_ask_and_the_others_alone(queued: Queued, engine: Gated) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(queued.ask, "first")
        assert engine.began.wait(10)
        stopped = threads.submit(queued.ask, "not wanted", "wanted by two", cancel=stop)
        other = threads.submit(queued.ask, "wanted by two")
        while len(queued.queue._entries) < 3:
            threading.Event().wait(0.01)
        stop.set()
        with pytest.raises(Interrupted):
            stopped.result(10)
        engine.gate.set()
        assert (first.result(10), other.result(10)) == (["<first>"], ["<wanted by two>"])
    assert "not wanted" not in engine.texts


def test_a_failure_is_of_the_calls_that_asked_for_it(queued: Queued, engine: Gated) -> None:
    engine.gate.set()
    with ThreadPoolExecutor(2) as threads:
        bad, good = threads.submit(queued.ask, "boom", "fine"), threads.submit(queued.ask, "good")
        assert good.result(10) == ["<good>"]
        with pytest.raises(RequestsFailed, match="boom"):
            bad.result(10)
    assert queued.ask("fine") == ["<fine>"]
    assert engine.texts.count("fine") == 1


def test_what_ends_a_run_ends_all_its_calls_and_the_next_run_is_new(queued: Queued, engine: Gated) -> None:
    def broken(version: Any) -> EchoEngine:
        raise ModelUnusable("the weights are cut short")

    engine.gate.set()
    queued.runtime.open_engine = broken
    with ThreadPoolExecutor(4) as threads:
        for call in [threads.submit(queued.ask, f"{i}") for i in range(4)]:
            with pytest.raises(ModelUnusable, match="cut short"):
                call.result(10)
    queued.runtime.open_engine = lambda version: engine
    assert queued.ask("1") == ["<1>"]


class Stepwise(EchoEngine):
    """Has all requests in flight at once, and ends those that are cancelled when it is let to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def generate(self, requests: Iterable[Request], cancel: Any = None) -> Iterator[Completion]:
        window = list(requests)
        self.asked += window
        assert self.gate.wait(10)
        for request in window:
            if request.is_cancelled():
                yield Completion(request, prompt_tokens=2, finish_reason="cancelled")
            else:
                yield Completion(request, Text(f"<{request.text}>"))


def test_requests_in_flight_that_no_call_waits_for_are_cancelled_and_the_job_is_interrupted(
    registered: None,
) -> None:
    engine, stop = Stepwise(), threading.Event()
    with Store() as store, ThreadPoolExecutor(3) as threads:
        queued = Queued(store, engine, lambda runtime: recorded_queue(runtime, "test"))
        stopped = threads.submit(queued.ask, "not wanted", "wanted by two", cancel=stop)
        while len(engine.asked) < 2:
            threading.Event().wait(0.01)
        other = threads.submit(queued.ask, "wanted by two")
        while len(queued.queue._entries[engine.asked[1].key].waiters) < 2:
            threading.Event().wait(0.01)
        stop.set()
        with pytest.raises(Interrupted):
            stopped.result(10)
        engine.gate.set()
        assert other.result(10) == ["<wanted by two>"]
        assert queued.ask("not wanted") == ["<not wanted>"]
        queued.queue.close()
        jobs = [(job.state, job.requests, job.known, job.generated, job.failed) for job in store.jobs.list()]
    assert jobs == [("done", 1, 0, 1, 0), ("interrupted", 2, 0, 1, 0)]


def test_a_run_of_which_the_rest_was_cancelled_is_an_interrupted_job(registered: None) -> None:
    engine, stop = Gated(), threading.Event()
    with Store() as store, ThreadPoolExecutor(1) as threads:
        queued = Queued(store, engine, lambda runtime: recorded_queue(runtime, "test"))
        stopped = threads.submit(queued.ask, *map(str, range(5)), cancel=stop)
        assert engine.began.wait(10)
        stop.set()
        with pytest.raises(Interrupted):
            stopped.result(10)
        engine.gate.set()
        queued.queue.close()
        assert engine.asked == []
        assert [(job.state, job.generated) for job in store.jobs.list()] == [("interrupted", 0)]
