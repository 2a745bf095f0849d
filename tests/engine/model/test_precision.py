"""What a dtype can do is tried on the machine: what it lacks, or does slowly, runs in float32, and one line says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, T5Config

from sqlinfer.engine import estimate_memory, open_engine
from sqlinfer.engine.model import precision
from sqlinfer.engine.model.cpu_linear import Int8Linear, PackedLinear
from sqlinfer.engine.model.precision import PlainLinear, find_fault, pick_precision
from sqlinfer.errors import ModelUnusable
from sqlinfer.types import ModelVersion
from tests.engine.engine_cases import answer, requests, texts

CPU = torch.device("cpu")
SLOW = "take 9.0 times as long here"
REDUCED = ("bfloat16", "float16", "int8")
VersionOf = Callable[..., ModelVersion]
Found = Callable[..., None]


@pytest.fixture(autouse=True)
def _unsaid() -> None:
    precision._warn_once.cache_clear()


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was tried yet; a run takes a second by the clock, and more if it says so."""
    monkeypatch.setattr(precision, "_faults", {})
    monkeypatch.setattr(precision, "perf_counter", _Layer.read)
    _Layer.now_s, _Layer.num_made = 0.0, 0


class _Layer(PlainLinear):
    """torch's product, which takes longer by some seconds of a clock that it sets itself."""

    now_s = 0.0
    num_made = 0
    more_s: Iterator[float] = iter(())

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__(weight, bias)
        _Layer.num_made += 1

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        _Layer.now_s += next(self.more_s, 0.0)
        return super().__call__(states)

    @staticmethod
    def read() -> float:
        _Layer.now_s += 1
        return _Layer.now_s


class _Missing(_Layer):
    def __init__(self, *_: Any) -> None:
        raise RuntimeError("this path needs the cpu support of another cpu\nat a line of C++")


class _Wrong(_Layer):
    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        return super().__call__(states) * 1.1


class _Nan(_Layer):
    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        return super().__call__(states) * torch.nan


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (_Missing, "fail here (this path needs the cpu support of another cpu)"),
        (_Wrong, "are wrong here"),
        (_Nan, "are wrong here"),
        (_Layer, ""),
    ],
)
def test_a_self_test_finds_matmuls_that_are_missing_or_wrong(layer: Any, said: str) -> None:
    assert find_fault(layer, torch.bfloat16, CPU) == said


@pytest.mark.usefixtures("untried")
def test_a_self_test_finds_slow_matmuls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Layer, "more_s", iter([8.0] * 100))
    assert find_fault(_Layer, torch.bfloat16, CPU) == SLOW


@pytest.mark.usefixtures("untried")
def test_a_run_that_was_disturbed_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Layer, "more_s", iter([8.0, 8.0, 8.0, 0.25, *[8.0] * 100]))
    assert find_fault(_Layer, torch.bfloat16, CPU) == ""


@pytest.mark.usefixtures("untried")
def test_loads_of_one_process_decide_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(4)
    monkeypatch.setattr(_Layer, "more_s", iter([8.0] * 9))  # a second trial would find it quick
    decided = []

    def load() -> None:
        together.wait()
        decided.append(find_fault(_Layer, torch.bfloat16, CPU))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (decided, _Layer.num_made) == ([SLOW] * 4, 1)


@pytest.mark.usefixtures("untried")
def test_a_trial_runs_on_one_thread_and_leaves_others_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    class Counted(_Layer):
        def __call__(self, states: torch.Tensor) -> torch.Tensor:
            counts.append(torch.get_num_threads())
            return super().__call__(states)

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        find_fault(Counted, torch.bfloat16, CPU)
        assert set(counts) == {1}
        later = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert (counts[-1], torch.get_num_threads()) == (3, 3)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [*REDUCED, "auto"])
@pytest.mark.parametrize("shape", ["llama", "bart"])
def test_every_dtype_answers_on_this_machine(
    dtype: str, shape: str, version_of: VersionOf, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine(version_of(shape, dtype=dtype), device="cpu")
    texts(answer(engine, requests(max_tokens=4)))
    runs = pick_precision(dtype, CPU, engine.loaded.config)
    assert engine.loaded.model.dtype is runs.dtype
    assert ("runs in float32" in caplog.text) == (dtype not in (runs.name, "auto"))


def refuse(found: Found, fault: str) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        found(PackedLinear, dtype, "fail here")
        found(None, dtype, fault)
    found(Int8Linear, torch.float32, fault)


@pytest.mark.parametrize("dtype", REDUCED)
def test_a_dtype_that_is_slow_here_is_float32_and_one_line_says_so(
    dtype: str, version_of: VersionOf, found: Found, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(found, SLOW)
    plain = texts(answer(open_engine(version_of("llama"), device="cpu"), requests(max_tokens=4)))
    assert not caplog.records
    for _ in range(2):
        engine = open_engine(version_of("llama", dtype=dtype), device="cpu")
        assert texts(answer(engine, requests(max_tokens=4))) == plain
        engine.close()
    (said,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert said.getMessage() == f"llama/1 runs in float32, not in {dtype}: {dtype} matmuls {SLOW}"


def test_what_nobody_asked_for_is_not_said(found: Found) -> None:
    refuse(found, SLOW)
    runs = pick_precision("auto", CPU, LlamaConfig())
    assert (runs.dtype, runs.notice) == (torch.float32, "")


def test_bfloat16_that_cannot_be_packed_runs_as_torch_has_it_if_that_is_quick(
    version_of: VersionOf, found: Found, caplog: pytest.LogCaptureFixture
) -> None:
    found(PackedLinear, torch.bfloat16, "fail here")
    found(None, torch.bfloat16)
    engine = open_engine(version_of("llama", dtype="bfloat16"), device="cpu")
    texts(answer(engine, requests(max_tokens=4)))
    assert engine.loaded.model.dtype is torch.bfloat16
    assert not any(isinstance(module, PackedLinear) for module in engine.loaded.model.modules())
    assert "runs in" not in caplog.text


def test_a_model_is_packed_only_where_that_works(version_of: VersionOf, found: Found) -> None:
    found(PackedLinear, torch.float32, "fail here")
    engine = open_engine(version_of("llama"), device="cpu")
    texts(answer(engine, requests(max_tokens=2)))
    assert not any(isinstance(module, PackedLinear) for module in engine.loaded.model.modules())


def test_the_need_of_memory_is_that_of_what_runs(
    version_of: VersionOf, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLINFER_DEVICE", "cpu")
    refuse(found, SLOW)
    single, half = (estimate_memory(version_of("llama", dtype=dtype), 10) for dtype in ("float32", "bfloat16"))
    assert (half.dtype, half.weights_bytes, half.row_bytes) == ("float32", single.weights_bytes, single.row_bytes)


def test_what_no_machine_does_is_refused() -> None:
    assert pick_precision("float32", CPU, LlamaConfig()).dtype is torch.float32
    with pytest.raises(ModelUnusable, match="overflows"):
        pick_precision("float16", CPU, T5Config())
    with pytest.raises(ModelUnusable, match="float32"):
        pick_precision("flaot32", CPU, LlamaConfig())
