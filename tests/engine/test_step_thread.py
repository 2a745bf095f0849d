"""Steps beside the caller give what steps in its thread give, and meanwhile it prepares what comes next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import pytest

from sqlinfer.engine import engine as engine_module
from sqlinfer.engine import request_windows
from sqlinfer.engine.scheduler import Limits
from sqlinfer.engine.step_thread import BackgroundStepLoop
from sqlinfer.types import Request
from tests.engine.engine_cases import TEXTS, EngineOf, answer, requests

WAIT_S = 20


class Work:
    """Rows that end one a step. gate: waited for within each step. fails: the step that raises."""

    utilization = 1.0

    def __init__(self, gate: threading.Event | None = None, fails: int = -1) -> None:
        self.rows: list[int] = []
        self.windows: list[list[int]] = []
        self._gate, self._fails = gate, fails
        self._steps = 0

    @property
    def has_work(self) -> bool:
        return bool(self.rows)

    @property
    def wants_requests(self) -> bool:
        return not self.rows

    def add(self, rows: list[int]) -> None:
        self.windows.append(rows)
        self.rows += rows

    def step(self) -> list[int]:
        self._steps += 1
        if self._steps == self._fails:
            raise RuntimeError("the device is gone")
        if self._gate is not None:
            assert self._gate.wait(WAIT_S)
        return [self.rows.pop(0)]


def polled(steps: BackgroundStepLoop, windows: list[list[int]]) -> Iterator[int]:
    """What ends of windows that are added as they are wanted."""
    source = iter(windows)
    while True:
        if steps.wants_requests:
            rows = next(source, None)
            if rows is None:
                steps.close_input()
            else:
                steps.add(rows)
            continue
        finished = steps.poll(0.01)
        if finished is None:
            return
        yield from finished


def test_the_next_window_is_added_while_a_step_runs() -> None:
    gate = threading.Event()
    with BackgroundStepLoop(Work(gate), threading.Lock()) as steps:
        steps.add([1, 2])
        while not steps.wants_requests:
            steps.poll(0.01)
        steps.add([3])  # the first step has not finished
        gate.set()
        assert list(polled(steps, [[4, 5]])) == [1, 2, 3, 4, 5]


def test_a_loop_waits_for_requests_rather_than_run_without_them() -> None:
    work = Work()
    with BackgroundStepLoop(work, threading.Lock()) as steps:
        assert list(polled(steps, [[1], [2, 3], [4]])) == [1, 2, 3, 4]
    assert work.windows == [[1], [2, 3], [4]]


def test_what_had_ended_comes_before_the_error_of_a_step() -> None:
    with BackgroundStepLoop(Work(fails=3), threading.Lock()) as steps:
        seen: list[int] = []

        def poll_all() -> None:
            for row in polled(steps, [[1, 2, 3]]):
                seen.append(row)

        with pytest.raises(RuntimeError, match="the device is gone"):
            poll_all()
    assert seen == [1, 2]


def test_what_has_ended_is_not_lost_when_it_stops() -> None:
    gate = threading.Event()
    with BackgroundStepLoop(Work(gate), threading.Lock()) as steps:
        steps.add([1, 2, 3])
        steps.close_input()
        gate.set()
        steps._thread.join(WAIT_S)
        assert list(steps.stop()) == [1, 2, 3]
        assert list(steps.stop()) == []


def test_who_waits_for_the_step_lock_may_be_stopped_by_its_holder() -> None:
    step_lock = threading.Lock()
    with step_lock, BackgroundStepLoop(Work(), step_lock) as steps:
        steps.add([1])
        assert list(steps.stop()) == []
    assert not step_lock.locked()


def test_closing_ends_the_thread_after_its_step() -> None:
    before = threading.active_count()
    with BackgroundStepLoop(Work(), threading.Lock()) as steps:
        steps.add(list(range(100_000)))
        while not steps.poll(WAIT_S):
            pass
    assert threading.active_count() == before


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> list[BackgroundStepLoop]:
    """Engines on the CPU step beside the caller, in windows of three."""
    opened: list[BackgroundStepLoop] = []

    class Seen(BackgroundStepLoop):
        def __enter__(self) -> BackgroundStepLoop:
            opened.append(self)
            return self

    monkeypatch.setattr(engine_module, "StepLoop", Seen)
    monkeypatch.setattr(request_windows, "WINDOW_REQUESTS", 3)
    return opened


@pytest.mark.parametrize("shape", ["gpt2", "t5"])
def test_answers_are_the_same_beside_the_caller(
    shape: str, engine_of: EngineOf, beside: list[BackgroundStepLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [*requests(TEXTS, max_tokens=5), *requests(["broken \ud800"], max_tokens=5)]
    batch = [replace(request, key=str(i).encode()) for i, request in enumerate(batch)]
    engine = engine_of(shape)
    engine.limits = Limits(max_slots=2)
    completions = answer(engine, batch)
    assert len(beside) == 1
    monkeypatch.undo()
    assert completions == answer(engine, batch)
    assert [completion.error is None for completion in completions] == [True] * len(TEXTS) + [False]


@pytest.mark.parametrize("is_beside", [False, True])
def test_a_request_that_comes_later_joins_the_batch(
    is_beside: bool, engine_of: EngineOf, beside: list[BackgroundStepLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_beside:
        monkeypatch.undo()
    engine, completed = engine_of("gpt2"), []
    (long,), (short,) = requests(["a"], max_tokens=60, min_tokens=60), requests(["zzz"], max_tokens=2)

    def live() -> Iterator[Request | None]:
        yield long
        yield from [None] * 3
        yield short
        while len(completed) < 2:
            yield None

    for completion in engine.generate(live()):
        completed.append(completion)
    assert [completion.request for completion in completed] == [short, long]
    assert completed == [*answer(engine, [short]), *answer(engine, [long])]


@pytest.mark.parametrize("ends", ["cancelled", "broken"])
def test_answers_that_came_while_requests_were_read_are_given(
    ends: str, engine_of: EngineOf, beside: list[BackgroundStepLoop]
) -> None:
    engine, cancel, completed = engine_of("gpt2"), threading.Event(), []
    engine.limits = Limits(max_slots=3)

    def slow() -> Iterator[Request]:
        yield from requests(TEXTS[:6], max_tokens=2)
        deadline_s = time.monotonic() + WAIT_S
        while len(beside[0]._finished) < 3 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        if ends == "broken":
            raise OSError("the table is gone")
        cancel.set()

    def poll_all() -> None:
        for completion in engine.generate(slow(), cancel):
            completed.append(completion)

    with pytest.raises(OSError, match="the table is gone") if ends == "broken" else nullcontext():
        poll_all()
    assert len(completed) >= 3


def test_a_call_that_is_cancelled_ends_beside_the_caller(engine_of: EngineOf, beside: list[BackgroundStepLoop]) -> None:
    def endless() -> Iterator[Request]:
        while True:
            yield from requests(max_tokens=2)

    cancel = threading.Event()
    answers = engine_of("gpt2").generate(endless(), cancel)
    assert next(answers).output is not None
    cancel.set()
    for _ in answers:
        pass
    assert not beside[0]._thread.is_alive()
