"""Memory that runs out, rows that break, users who stop: every other row is answered, and rightly."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from sqlinfer.engine import close_all, get_engine, open_engine
from sqlinfer.engine.attention.packed_decoder import ForwardContext
from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.engine.request_windows import WINDOW_CHARACTERS, WINDOW_REQUESTS, split_windows
from sqlinfer.engine.scheduler import Limits
from sqlinfer.errors import ModelUnusable
from sqlinfer.types import Completion, ModelVersion, Request
from tests.engine.engine_cases import TEXTS, EngineOf, answer, requests, texts

VersionOf = Callable[..., ModelVersion]


@pytest.fixture
def intercept(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Call check(call, slots, tokens) before each forward pass of an engine's model; returns the slots of each."""

    def install(engine: TransformersEngine, check: Callable[[int, int, int], None] = lambda *_: None) -> list[int]:
        forward, calls = engine.loaded.model.forward, []

        @functools.wraps(forward)
        def wrapper(*args: object, **kwargs: object) -> object:
            slots, tokens = _size(kwargs)
            calls.append(slots)
            check(len(calls), slots, tokens)
            return forward(*args, **kwargs)

        monkeypatch.setattr(engine.loaded.model, "forward", wrapper)
        return calls

    return install


def _size(kwargs: dict[str, Any]) -> tuple[int, int]:
    """Slots of a pass and tokens of the longest; packed ones lie one after another."""
    ids = kwargs["input_ids"] if "input_ids" in kwargs else kwargs["decoder_input_ids"]
    context = kwargs.get("forward_context")
    if not isinstance(context, ForwardContext):
        slots, tokens = ids.shape
        return slots, tokens
    single = sum(len(bucket.rows) for bucket in context._buckets)
    parents = {id(node.parent) for node in context._nodes}
    longest = int(kwargs["position_ids"].max()) + 1 if context._nodes else 1
    return single + sum(id(node) not in parents for node in context._nodes), longest


def _out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize("shape", ["llama", "gpt2", "t5", "bart"])
@pytest.mark.parametrize("failing", [1, 2, 7])
def test_out_of_memory_once_changes_no_answer(shape: str, failing: int, engine_of: EngineOf, intercept) -> None:
    engine = engine_of(shape)
    engine.limits = Limits(max_slots=16)
    usual = intercept(engine)
    before = answer(engine, requests(max_tokens=12))
    calls = intercept(engine, lambda call, *_: _out_of_memory() if call == failing else None)
    assert answer(engine, requests(max_tokens=12)) == before
    assert max(calls[failing:]) <= max(usual) // 2


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
        MemoryError(),
    ],
)
def test_memory_for_two_rows_answers_all(error: Exception, engine_of: EngineOf, intercept) -> None:
    engine = engine_of("qwen3")
    before = texts(answer(engine, requests(max_tokens=6)))

    def check(call: int, slots: int, tokens: int) -> None:
        if slots > 2:
            raise error

    intercept(engine, check)
    assert texts(answer(engine, requests(max_tokens=6))) == before


def test_out_of_memory_while_merging_changes_no_answer(engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlinfer.engine.cache import padded_cache

    engine = engine_of("llama")
    monkeypatch.setattr(engine.loaded, "_padding_reason", "a test")
    engine.limits = Limits(max_slots=3)
    before = answer(engine, requests(max_tokens=12))
    add_rows, calls = padded_cache.add_rows, []

    def failing(*args: torch.Tensor, **kwargs: bool) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 3:  # in the middle of a merge
            _out_of_memory()
        return add_rows(*args, **kwargs)

    monkeypatch.setattr(padded_cache, "add_rows", failing)
    assert answer(engine, requests(max_tokens=12)) == before
    assert len(calls) >= 3


@pytest.mark.parametrize("failing", [1, 3, 5])
def test_out_of_memory_while_a_row_joins_changes_no_answer(
    failing: int, engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlinfer.engine.cache.length_bucket import LengthBucket

    engine = engine_of("llama")
    engine.limits = Limits(max_slots=3)
    before = answer(engine, requests(max_tokens=12))
    add, calls = LengthBucket.add, []

    def failing_add(*args: object) -> None:
        calls.append(1)
        if len(calls) == failing:
            _out_of_memory()
        add(*args)

    monkeypatch.setattr(LengthBucket, "add", failing_add)
    assert answer(engine, requests(max_tokens=12)) == before
    assert len(calls) > failing


def test_row_that_alone_does_not_fit_fails_alone(engine_of: EngineOf, intercept) -> None:
    engine = engine_of("gpt2")
    before = answer(engine, requests(max_tokens=6))
    longest = max(range(len(TEXTS)), key=lambda i: before[i].prompt_tokens)
    too_many = before[longest].prompt_tokens

    def check(call: int, slots: int, tokens: int) -> None:
        if tokens >= too_many:
            _out_of_memory()

    intercept(engine, check)
    after = answer(engine, requests(max_tokens=6))
    assert "out of memory" in str(after[longest].error)
    assert after[longest].output is None
    assert [c for c in after if c.error is None] == [c for i, c in enumerate(before) if i != longest]


@pytest.mark.parametrize("shape", ["llama", "gpt2", "bart"])
@pytest.mark.parametrize("error", [RuntimeError("bad\nrow"), IndexError("bad"), ZeroDivisionError()], ids=repr)
def test_a_row_that_the_model_fails_with_costs_itself(
    shape: str, error: Exception, engine_of: EngineOf, intercept
) -> None:
    engine = engine_of(shape)
    before = answer(engine, requests(max_tokens=6))
    longest = max(range(len(TEXTS)), key=lambda i: before[i].prompt_tokens)

    def check(call: int, slots: int, tokens: int) -> None:
        if engine.batch_fill and tokens >= before[longest].prompt_tokens:
            raise error

    encode = engine.loaded.model.get_encoder() if shape == "bart" else None
    if encode is None:
        intercept(engine, check)
    else:
        hook = encode.register_forward_pre_hook(
            lambda _, __, kwargs: check(0, 0, kwargs["input_ids"].shape[1]), with_kwargs=True
        )
    after = answer(engine, requests(max_tokens=6))
    if encode is not None:
        hook.remove()
    assert str(after[longest].error).startswith("the model fails with this row: ")
    assert "\n" not in str(after[longest].error)
    assert [c for c in after if c.error is None] == [c for i, c in enumerate(before) if i != longest]


def test_a_model_that_fails_with_every_row_is_unusable(engine_of: EngineOf, intercept) -> None:
    engine = engine_of("gpt2")

    def check(call: int, slots: int, tokens: int) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    intercept(engine, check)
    with pytest.raises(ModelUnusable, match=r"does not run.*mat1"):
        list(engine.generate(requests()))


@pytest.mark.parametrize("shape", ["gpt2", "bart"])
def test_row_of_nan_fails_alone(shape: str, version_of: VersionOf, engine_of: EngineOf) -> None:
    before = answer(engine_of(shape), requests(max_tokens=6))
    engine = open_engine(version_of(shape), device="cpu")
    broken_row = TEXTS.index("zzz")
    embed = (
        engine.loaded.model.get_encoder().embed_tokens
        if shape == "bart"
        else engine.loaded.model.get_input_embeddings()
    )
    token = engine.loaded.prompts.prepare(requests(["z"]))[0].prompt[1 if shape == "bart" else 0]

    def break_token(_: object, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        return output.masked_fill((args[0] == token)[..., None], float("nan"))

    embed.register_forward_hook(break_token)
    after = answer(engine, requests(max_tokens=6))
    assert "NaN" in str(after[broken_row].error)
    assert after[:broken_row] == before[:broken_row]


def test_finished_rows_leave_and_others_take_their_places(engine_of: EngineOf, intercept) -> None:
    engine = engine_of("gpt2")
    engine.limits = Limits(max_slots=4)
    batch = [r for i in range(16) for r in requests([f"text {i}"], max_tokens=40 if i % 4 == 0 else 4)]
    calls = intercept(engine)
    assert len(list(engine.generate(batch))) == 16
    static = 4 * 40  # four batches, each as long as its longest row
    assert len(calls) < 0.6 * static


def test_requests_are_pulled_lazily(engine_of: EngineOf) -> None:
    pulled = 0

    def endless() -> Iterator[Request]:
        nonlocal pulled
        while True:
            pulled += 1
            yield requests([f"text {pulled}"], max_tokens=1)[0]

    answers = engine_of("gpt2").generate(endless())
    for _ in range(10):
        next(answers)
    assert pulled <= WINDOW_REQUESTS
    answers.close()


def test_long_texts_make_small_windows() -> None:
    text = "x" * (WINDOW_CHARACTERS // 3 + 1)
    assert [len(w) for w in split_windows(Request(text) for _ in range(7))] == [3, 3, 1]


def test_cancel_ends_within_a_step(engine_of: EngineOf, intercept) -> None:
    engine = engine_of("gpt2")
    cancel = threading.Event()

    def check(call: int, slots: int, tokens: int) -> None:
        if call == 5:
            cancel.set()

    calls = intercept(engine, check)
    completions = list(engine.generate(requests(max_tokens=100, min_tokens=100), cancel))
    assert completions == []
    assert len(calls) == 5


@pytest.mark.parametrize(("kind", "num_beams"), [("gpt2", 1), ("llama", 1), ("t5", 1), ("t5", 2)])
@pytest.mark.parametrize("max_slots", [8, 2], ids=["all run", "most wait"])
def test_cancelled_requests_leave_the_batch_at_the_next_step_and_change_no_other(
    engine_of: EngineOf, intercept, kind: str, num_beams: int, max_slots: int
) -> None:
    engine = engine_of(kind)
    batch = requests(max_tokens=12, min_tokens=12, num_beams=num_beams)
    alone = texts(answer(engine, batch))
    engine.limits = Limits(max_slots=max_slots * num_beams)
    cancelled: set[str] = set()
    watched = [replace(r, is_cancelled=functools.partial(cancelled.__contains__, r.text)) for r in batch]

    def check(call: int, slots: int, tokens: int) -> None:
        if call == 3:
            cancelled.update(TEXTS[1:])

    calls = intercept(engine, check)
    completions = answer(engine, watched)
    kept = [c for c in completions if not c.is_cancelled]
    assert [(c.request.text, str(c.output)) for c in kept] == [(TEXTS[0], alone[0])]
    assert all(c.output is None and c.error is None for c in completions if c.is_cancelled)
    assert sum(calls[4:]) <= num_beams * 12  # of the one that is left


def test_abandoned_answers_do_not_block_others(engine_of: EngineOf) -> None:
    engine = engine_of("llama")
    engine.limits = Limits(max_slots=2)
    abandoned = engine.generate(requests(max_tokens=4))
    next(abandoned)  # and never another
    assert len(texts(answer(engine, requests(max_tokens=4)))) == len(TEXTS)
    abandoned.close()


def test_threads_share_one_load_and_get_right_answers(
    version_of: VersionOf, engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlinfer.engine.model import weights as loader

    expected = texts(answer(engine_of("llama"), requests(max_tokens=10)))
    loads, load = [], loader.load_model
    monkeypatch.setattr(loader, "load_model", lambda *args: loads.append(1) or load(*args))
    monkeypatch.setenv("SQLINFER_DEVICE", "cpu")
    close_all()
    results: dict[int, list[Completion]] = {}

    def ask(i: int) -> None:
        results[i] = answer(get_engine(version_of("llama")), requests(max_tokens=10))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [texts(results[i]) for i in range(4)] == [expected] * 4
    assert loads == [1]
    close_all()
