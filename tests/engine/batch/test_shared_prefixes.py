"""The shared prefix of a batch's prompts is prefilled once, and no answer changes by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sqlinfer.engine.batch.packed_decoder import PackedDecoderBatch
from sqlinfer.engine.cache import length_bucket, prefix_tree
from sqlinfer.engine.cache import padded_cache as kv
from sqlinfer.engine.cache.prefix_tree import build_prefix_tree, choose_shared_prefixes
from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.engine.scheduler import Limits
from tests.engine.engine_cases import TEXTS, EngineOf, answer, requests, texts
from tests.engine.test_generate_equality import DECODERS, KINDS, _other, generate
from tests.engine.test_generate_faults import _out_of_memory, intercept  # noqa: F401 - a fixture

PREFIX = "Classify this text: billing, delivery, account, other. Answer with one word. "
ASKED = [PREFIX + text for text in TEXTS]


def same_as_alone(engine: TransformersEngine) -> None:
    """Batches of several sizes, that rows join and leave, answer as transformers does a row."""
    lengths = [(9, 3, 14)[i % 3] for i in range(len(ASKED))]
    expected = [generate(engine, text, max_new_tokens=n, num_beams=1) for text, n in zip(ASKED, lengths, strict=True)]
    for max_slots in (3, 64):
        engine.limits = Limits(max_slots=max_slots)
        asked = [requests([text], max_tokens=n)[0] for text, n in zip(ASKED, lengths, strict=True)]
        named = [replace(r, key=str(i).encode()) for i, r in enumerate(asked)]
        assert texts(answer(engine, named)) == expected


def prefilled_once(engine: TransformersEngine, read: list[int]) -> None:
    """The tokens read for all of ASKED have the shared prefix once. read: how many, of each pass."""
    prompts = [s.prompt for s in engine.loaded.prompts.prepare(requests(ASKED))]
    first, last = min(prompts), max(prompts)
    shared = next(i for i in range(len(first)) if first[i] != last[i])
    assert shared >= 16
    assert sum(read) <= shared + sum(len(prompt) - shared for prompt in prompts)


@pytest.mark.parametrize("min_saved", [1, 1 << 30], ids=["one cache", "caches apart"])
@pytest.mark.parametrize("shape", DECODERS)
def test_answers_are_those_of_generate(
    shape: str, min_saved: int, engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[int] = []
    attend = length_bucket._cascade_attention
    monkeypatch.setattr(prefix_tree, "MIN_SAVED", min_saved)
    monkeypatch.setattr(length_bucket, "_cascade_attention", lambda *args: shared.append(len(args[0])) or attend(*args))
    same_as_alone(engine_of(shape))
    assert (max(shared, default=0) > 1) == (min_saved == 1)


@pytest.mark.parametrize("kind", ["mistral", "lfm2", "bloom"])
def test_other_caches_answer_as_generate(kind: str, tmp_path: Path, folder_of: Callable[[str], Path]) -> None:
    assert kind in KINDS
    same_as_alone(_other(kind, tmp_path, folder_of("gpt2")))


def test_a_shared_prefix_is_prefilled_once(engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of("gpt2")
    engine.limits = Limits(max_slots=3)  # batches that follow each other do not read it again either
    assert engine.loaded.padding_reason == ""
    read: list[int] = []
    forward = PackedDecoderBatch._forward
    monkeypatch.setattr(PackedDecoderBatch, "_forward", lambda *args: read.append(len(args[2])) or forward(*args))
    answer(engine, requests(ASKED, max_tokens=1))
    prefilled_once(engine, read)


def test_nested_prefixes_are_prefilled_once() -> None:
    top, left, right = [1] * 20, [2] * 20, [3] * 20
    texts = [top + left + [4], top + right + [5], top + left + [6, 7], [8]]
    nodes, leaves = build_prefix_tree(texts, [], None)
    assert sorted(len(s.tokens) for s in nodes) == sorted([20, 20, 1, 2, 21, 1])
    for text, leaf in zip(texts, leaves, strict=True):
        assert [token for s in leaf.path() for token in s.tokens] == text
    starts = [s.start for s in nodes]
    assert starts == sorted(starts)


def test_a_cache_is_shared_where_it_saves_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_tree, "MIN_SAVED", 100)
    top, left, right = (1,) * 60, (2,) * 20, (3,) * 20
    texts = [[*top, *left, 4], [*top, *left, 5], [*top, *right, 6], [7] * 90, [8] * 30]

    def shared(running: dict[tuple[int, ...], int]) -> list[tuple[int, ...] | None]:
        return choose_shared_prefixes(texts, build_prefix_tree(texts, [], None)[1], running)

    assert shared({}) == [top, top, top, None, None]
    assert shared({top + left: 9}) == [top + left, top + left, top, None, None]  # beside rows that run already
    assert shared({(7,) * 40: 3}) == [top, top, top, (7,) * 40, None]


def test_a_prefix_of_an_earlier_batch_is_not_prefilled_again() -> None:
    nodes, leaves = build_prefix_tree([[1] * 30 + [2], [1] * 30 + [2, 3], [4] * 30], [1] * 30 + [2], "kept")
    assert [(s.cached_parent, s.offset, len(s.tokens)) for s in leaves] == [
        ("kept", 30, 1),
        ("kept", 31, 1),
        (None, 0, 30),
    ]
    assert len(nodes) == 3


def test_padded_batches_prefill_a_shared_prefix_once(engine_of: EngineOf, intercept, monkeypatch) -> None:  # noqa: F811
    engine = engine_of("gpt2")
    monkeypatch.setattr(engine.loaded, "_padding_reason", "a test")
    engine.limits = Limits(max_slots=len(ASKED))
    shapes: list[tuple[int, int]] = []
    intercept(engine, lambda _, lines, tokens: shapes.append((lines, tokens)))
    answer(engine, requests(ASKED, max_tokens=1))
    longest = max(len(s.prompt) for s in engine.loaded.prompts.prepare(requests(ASKED)))
    (one, shared), (all_lines, rest) = shapes
    assert (one, all_lines) == (1, len(ASKED))
    assert shared >= 16
    assert shared + rest == longest


def test_memory_that_runs_out_in_between_changes_no_answer(engine_of: EngineOf, intercept) -> None:  # noqa: F811
    engine = engine_of("qwen3")
    engine.limits = Limits(max_slots=8)
    before = answer(engine, requests(ASKED, max_tokens=5))
    for failing in (1, 2):
        engine.limits = Limits(max_slots=8)
        intercept(engine, lambda call, *_, at=failing: _out_of_memory() if call == at else None)
        assert answer(engine, requests(ASKED, max_tokens=5)) == before


def test_padding_goes_to_the_left_and_takes_its_states_along() -> None:
    from transformers import DynamicCache

    cache = DynamicCache()
    states = torch.arange(8.0).reshape(2, 1, 4, 1)
    cache.update(states, states + 10, 0)
    mask = kv.left_align(cache, torch.tensor([[1, 0, 1, 1], [1, 0, 0, 1]]))
    assert mask.tolist() == [[0, 1, 1, 1], [0, 0, 1, 1]]
    assert cache.layers[0].keys.flatten().tolist() == [1.0, 0.0, 2.0, 3.0, 5.0, 6.0, 4.0, 7.0]
    assert cache.layers[0].values.flatten().tolist() == [11.0, 10.0, 12.0, 13.0, 15.0, 16.0, 14.0, 17.0]
