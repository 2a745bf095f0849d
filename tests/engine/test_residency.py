"""Laws of models that share the memory of a device: who leaves it, who stays, and who waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

import pytest

from sqlinfer.engine import loaded_model, open_engine, residency
from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.engine.model import memory_estimate
from sqlinfer.errors import ModelUnusable
from sqlinfer.types import ModelVersion, Request
from tests.engine.engine_cases import EngineOf, answer, requests, texts

ONE_MODEL = 1 << 30  # bytes, more than a tiny model needs
Open = Callable[[str], TransformersEngine]


@pytest.fixture
def open_with_room(monkeypatch: pytest.MonkeyPatch, version_of: Callable[..., ModelVersion]) -> Callable[[int], Open]:
    """Open engines on a device whose free memory is measured as that of so many models."""
    monkeypatch.setattr(residency, "_num_users", WeakKeyDictionary())

    def room(for_models: int) -> Open:
        def free(_: object) -> int:
            return ONE_MODEL * (for_models - sum(each.is_loaded for each in residency._num_users))

        monkeypatch.setattr(memory_estimate, "free_memory", free)
        monkeypatch.setattr(memory_estimate, "_OVERHEAD", 0)
        monkeypatch.setattr(memory_estimate, "cache_bytes_per_token", lambda *_: ONE_MODEL // loaded_model.ROW_TOKENS)
        return lambda shape: open_engine(version_of(shape), device="cpu")

    return room


def ask(engine: TransformersEngine) -> list[str]:
    return texts(answer(engine, requests(max_tokens=2)))


def is_loaded(*engines: TransformersEngine) -> list[bool]:
    return [engine.loaded.is_loaded for engine in engines]


def begin(engine: TransformersEngine) -> Iterator[object]:
    """Let an engine begin to answer; it is in use until the iterator has ended."""
    running = engine.generate(requests(max_tokens=2))
    next(running)
    return running


def test_the_least_recently_used_model_leaves_when_the_next_does_not_fit(
    open_with_room: Callable[[int], Open], engine_of: EngineOf
) -> None:
    open_one = open_with_room(2)
    llama, gpt2, t5 = map(open_one, ("llama", "gpt2", "t5"))
    ask(llama)
    ask(gpt2)
    assert is_loaded(llama, gpt2) == [True, True]
    ask(llama)  # used again
    ask(t5)
    assert is_loaded(llama, gpt2, t5) == [True, False, True]
    assert gpt2.warm().left == ("llama/1",)
    assert ask(llama) == ask(engine_of("llama"))


def test_a_model_in_use_stays_and_one_that_nobody_uses_leaves(open_with_room: Callable[[int], Open]) -> None:
    llama, gpt2, t5 = map(open_with_room(2), ("llama", "gpt2", "t5"))
    running = begin(llama)
    ask(gpt2)
    ask(t5)
    assert is_loaded(llama, gpt2, t5) == [True, False, True]
    assert list(running)
    ask(t5)
    ask(gpt2)
    assert is_loaded(llama, gpt2, t5) == [False, True, True]


def test_a_model_that_fits_beside_no_other_runs_once_the_other_is_not_used(
    open_with_room: Callable[[int], Open], engine_of: EngineOf
) -> None:
    llama, gpt2 = map(open_with_room(1), ("llama", "gpt2"))
    running = begin(llama)
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.extend(ask(gpt2)))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    assert is_loaded(llama, gpt2) == [True, False]
    assert list(running)
    waiting.join(60)
    assert is_loaded(llama, gpt2) == [False, True]
    assert answers == ask(engine_of("gpt2"))


def test_a_stop_ends_the_waiting_for_memory(open_with_room: Callable[[int], Open]) -> None:
    llama, gpt2 = map(open_with_room(1), ("llama", "gpt2"))
    running, cancel = begin(llama), threading.Event()
    threading.Timer(0.2, cancel.set).start()
    assert list(gpt2.generate([Request("a")], cancel)) == []
    assert is_loaded(llama, gpt2) == [True, False]
    assert list(running)


def test_threads_whose_models_take_each_others_place_get_right_answers(
    open_with_room: Callable[[int], Open], engine_of: EngineOf
) -> None:
    engines = list(map(open_with_room(1), ("llama", "gpt2", "t5")))
    expected = {engine.version.name: ask(engine_of(engine.version.name)) for engine in engines}
    answers: list[tuple[str, list[str]]] = []

    def run(engine: TransformersEngine) -> None:
        for _ in range(3):
            answers.append((engine.version.name, ask(engine)))

    threads = [threading.Thread(target=run, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 9
    assert all(got == expected[name] for name, got in answers)
    assert sum(is_loaded(*engines)) == 1


def test_a_model_that_does_not_fit_alone_says_so_itself(
    open_with_room: Callable[[int], Open], monkeypatch: pytest.MonkeyPatch
) -> None:
    llama, gpt2 = map(open_with_room(1), ("llama", "gpt2"))
    ask(llama)
    monkeypatch.setattr(memory_estimate, "free_memory", lambda _: 0)
    monkeypatch.setattr("sqlinfer.engine.model.weights.free_memory", lambda _: 1000)
    with pytest.raises(ModelUnusable, match="do not fit the memory of cpu"):
        list(gpt2.generate([Request("a")]))
