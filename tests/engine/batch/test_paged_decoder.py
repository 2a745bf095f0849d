"""Batches over a paged cache answer as transformers' generate, token for token in fp32, whoever comes and goes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import pytest
import torch

from sqlinfer.engine import open_engine
from sqlinfer.engine.attention.paged_runner import PagedAttention, PagedModel
from sqlinfer.engine.batch import paged_self_test as trial
from sqlinfer.engine.batch.paged_decoder import PagedDecoderBatch
from sqlinfer.engine.batch.paged_self_test import plain_attend
from sqlinfer.engine.cache.page_pool import PAGE_SIZE, PageCache
from sqlinfer.engine.engine import TransformersEngine
from sqlinfer.engine.model.cpu_linear import PackedLinear
from sqlinfer.engine.scheduler import Limits
from sqlinfer.types import ModelVersion
from tests.engine.batch.test_shared_prefixes import ASKED, prefilled_once, same_as_alone
from tests.engine.engine_cases import TEXTS, EngineOf, answer, choosing, requests, texts
from tests.engine.test_generate_equality import DECODERS, generate
from tests.engine.test_generate_faults import _out_of_memory, intercept  # noqa: F401 - a fixture

CPU = torch.device("cpu")
SCHEMA = '{"type": "object", "properties": {"name": {"enum": ["a", "b"]}, "number": {"type": "integer"}}}'
PagedOf = Callable[..., TransformersEngine]
Opened = Callable[..., tuple[PagedModel | None, str]]


def paged(engine: TransformersEngine, num_pages: int, attend: PagedAttention = plain_attend) -> PagedModel:
    return PagedModel(engine.loaded.model, PageCache(num_pages, 64, CPU), attend, uses_cuda_graphs=False)


@pytest.fixture
def paged_of(engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch) -> PagedOf:
    """Engine of a shape that runs with a paged cache, of plain attention."""

    def get(shape: str, num_pages: int = 1024) -> TransformersEngine:
        engine = engine_of(shape)
        monkeypatch.setattr(engine.loaded, "_padding_reason", "")
        monkeypatch.setattr(engine.loaded, "_paged", paged(engine, num_pages))
        return engine

    return get


@pytest.mark.parametrize("shape", DECODERS)
def test_greedy_is_generate(shape: str, paged_of: PagedOf) -> None:
    engine = paged_of(shape)
    ours = texts(answer(engine, requests(max_tokens=40)))
    assert ours == [generate(engine, text, max_new_tokens=40) for text in TEXTS]


@pytest.mark.parametrize("shape", DECODERS)
def test_rows_that_share_prefixes_join_and_leave(shape: str, paged_of: PagedOf) -> None:
    same_as_alone(paged_of(shape))


def test_a_shared_prefix_is_prefilled_once(paged_of: PagedOf, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = paged_of("gpt2")
    engine.limits = Limits(max_slots=3)
    read: list[int] = []
    forward = PagedModel.forward
    monkeypatch.setattr(PagedModel, "forward", lambda *args: read.append(len(args[3])) or forward(*args))
    answer(engine, requests(ASKED, max_tokens=1))
    prefilled_once(engine, read)


def test_scored_rows_and_schemas_answer_as_in_packed_batches(engine_of: EngineOf, paged_of: PagedOf) -> None:
    choices = ("late delivery", "late", "a broken lamp")
    asked = [*choosing(requests(), choices)]
    asked += [replace(r, schema=SCHEMA, key=b"1" + r.key) for r in requests(max_tokens=40)]
    packed = answer(engine_of("llama"), asked)
    found = answer(paged_of("llama"), asked)
    assert [c.error for c in found] == [c.error for c in packed]
    assert found == packed


@pytest.mark.parametrize("num_pages", [9, 14, 30])
def test_a_cache_that_is_full_changes_no_answer(num_pages: int, engine_of: EngineOf, paged_of: PagedOf) -> None:
    few = [*ASKED[:3], *TEXTS[:5]]
    before = answer(engine_of("llama"), requests(few, max_tokens=20))
    engine = paged_of("llama", num_pages)
    engine.limits = Limits(max_tokens=10**6)
    assert answer(engine, requests(few, max_tokens=20)) == before


def test_a_row_that_the_cache_cannot_hold_fails_alone(paged_of: PagedOf) -> None:
    engine = paged_of("llama", 8)
    long, *short = answer(engine, requests([" ".join(["one"] * 200), "a", "zzz"], max_tokens=4))
    assert "does not fit" in str(long.error)
    assert all(c.error is None for c in short)


@pytest.mark.parametrize("failing", [1, 2, 5])
def test_out_of_memory_changes_no_answer(failing: int, paged_of: PagedOf, intercept) -> None:  # noqa: F811
    engine = paged_of("qwen3")
    engine.limits = Limits(max_slots=8)
    before = answer(engine, requests(ASKED, max_tokens=5))
    engine.limits = Limits(max_slots=8)
    intercept(engine, lambda call, *_: _out_of_memory() if call == failing else None)
    assert answer(engine, requests(ASKED, max_tokens=5)) == before


def test_everything_goes_back(paged_of: PagedOf) -> None:
    engine = paged_of("llama")
    cache = engine.loaded._paged.cache
    free = (sorted(cache._free_pages), sorted(cache._free_rows))
    answer(engine, requests(ASKED, max_tokens=20))
    left = engine.generate(requests(ASKED, max_tokens=200))
    for _ in left:
        break
    assert len(cache._free_rows) < len(free[1])
    left.close()
    del left
    gc.collect()
    assert (sorted(cache._free_pages), sorted(cache._free_rows)) == free
    assert not engine.loaded._paged.is_used


def test_two_callers_share_the_cache(paged_of: PagedOf) -> None:
    engine = paged_of("llama", 200)
    asked = requests(max_tokens=30)
    alone = answer(engine, asked)
    first, second = engine.generate(asked), engine.generate(asked)
    found = list(zip_longest(first, second))
    for completions in zip(*found, strict=True):
        assert sorted(filter(None, completions), key=lambda c: int(c.request.key)) == alone


def test_a_batch_leaves_room_for_the_next(paged_of: PagedOf) -> None:
    model = paged_of("llama", 100).loaded._paged
    first, second = PagedDecoderBatch(model), PagedDecoderBatch(model)
    assert 0 < second.max_tokens < first.max_tokens
    assert first.max_tokens + second.max_tokens < 100 * PAGE_SIZE
    del first
    assert PagedDecoderBatch(model).max_tokens > second.max_tokens


def _blind(*args: Any) -> torch.Tensor:
    """Takes the keys of other tokens as soon as a line is longer than a tile."""
    query, keys, values, block_table, spans, scale = args
    return plain_attend(query, keys, values, block_table[:, torch.arange(block_table.shape[1]) % 64], spans, scale)


def _dim(*args: Any) -> torch.Tensor:
    """Loses a little of everything."""
    return plain_attend(*args) * 0.97


def _broken(*_: object) -> torch.Tensor:
    raise ValueError("no such instruction")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """A model with a paged cache as on a GPU, whose kernel is another one if given."""
    attention = pytest.importorskip("sqlinfer.engine.attention.paged_kernel", reason="Triton is not installed")
    monkeypatch.setattr(trial, "free_memory", lambda device: 1 << 24)
    monkeypatch.setattr(trial, "LONGEST", 90)  # the interpreter is slow

    def get(engine: TransformersEngine, attend: PagedAttention | None = None) -> tuple[PagedModel | None, str]:
        monkeypatch.setattr(attention, "attend", attend or attention.attend)
        return trial.open_paged(engine.loaded.model)

    return get


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["qwen3", "gpt2"])  # heads that share keys, and such as do not
def test_the_kernel_answers_as_generate(
    shape: str, engine_of: EngineOf, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(shape)
    model, obstacle = opened(engine)
    assert obstacle == ""
    assert model is not None
    assert not model.uses_cuda_graphs  # graphs need a GPU, and steps do without them
    assert model.cache.num_slots * model.cache.bytes_per_slot <= trial.SHARE * (1 << 24)
    monkeypatch.setattr(engine.loaded, "_padding_reason", "")
    monkeypatch.setattr(engine.loaded, "_paged", model)
    few = [*ASKED[:2], TEXTS[1]]
    ours = texts(answer(engine, requests(few, max_tokens=3)))
    assert ours == [generate(engine, text, max_new_tokens=3) for text in few]


@pytest.mark.parametrize(
    ("attend", "said"),
    [(_blind, "different logits after"), (_broken, "no such instruction")],
)
def test_a_wrong_kernel_is_found_out(attend: PagedAttention, said: str, engine_of: EngineOf, opened: Opened) -> None:
    model, obstacle = opened(engine_of("llama"), attend)
    assert model is None
    assert said in obstacle


def test_a_kernel_that_is_a_little_off_is_found_out(
    version_of: Callable[..., ModelVersion], opened: Opened, found: Callable[..., None]
) -> None:
    found(PackedLinear, torch.bfloat16, "are missing")
    found(None, torch.bfloat16)
    engine = open_engine(version_of("llama", dtype="bfloat16"), device="cpu")
    assert opened(engine, plain_attend)[1] == ""
    _, obstacle = opened(engine, _dim)
    assert "its attention kernel differs from plain attention by 0.03" in obstacle  # its logits would pass
