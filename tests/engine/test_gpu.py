"""On a GPU: the trial passes, graphs are replayed, and answers in fp32 are those of transformers' generate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from sqlinfer.engine import open_engine
from sqlinfer.engine.scheduler import Limits
from sqlinfer.types import ModelVersion
from tests.engine.batch.test_shared_prefixes import ASKED
from tests.engine.engine_cases import TEXTS, answer, choosing, requests, texts
from tests.engine.test_generate_equality import DECODERS, generate

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
VersionOf = Callable[..., ModelVersion]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", DECODERS)
def test_the_trial_passes_with_graphs(shape: str, dtype: str, version_of: VersionOf) -> None:
    engine = open_engine(version_of(shape, dtype=dtype), device="cuda")
    assert engine.loaded.padding_reason == ""
    assert engine.loaded._paged is not None
    assert engine.loaded._paged.can_replay
    answer(engine, requests(max_tokens=40))
    assert engine.loaded._paged._graphs


@pytest.mark.parametrize("max_slots", [3, 64])
@pytest.mark.parametrize("shape", DECODERS)
def test_greedy_is_generate(shape: str, max_slots: int, version_of: VersionOf) -> None:
    engine, on_cpu = (open_engine(version_of(shape), device=device) for device in ("cuda", "cpu"))
    engine.limits = Limits(max_slots=max_slots)
    for prompts in (TEXTS, ASKED):
        ours = texts(answer(engine, requests(list(prompts), max_tokens=24)))
        assert ours == [generate(on_cpu, text, max_new_tokens=24) for text in prompts]


def test_schemas_and_scores_are_those_of_the_cpu(version_of: VersionOf) -> None:
    on_gpu, on_cpu = (open_engine(version_of("llama"), device=device) for device in ("cuda", "cpu"))
    schema = '{"type": "object", "properties": {"name": {"enum": ["a", "b"]}, "number": {"type": "integer"}}}'
    batch = [replace(request, schema=schema) for request in requests(max_tokens=40)]
    assert answer(on_gpu, batch) == answer(on_cpu, batch)
    scored = choosing(requests(), ("late delivery", "late", "a broken lamp"))
    for ours, theirs in zip(*(map(json.loads, texts(answer(e, scored))) for e in (on_gpu, on_cpu)), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
