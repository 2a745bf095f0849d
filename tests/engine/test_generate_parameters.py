"""Each row has its own parameters, its own seed and its own end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sqlinfer.engine.scheduler import Limits
from sqlinfer.types import Parameters, Request
from tests.engine.engine_cases import TEXTS, EngineOf, answer, requests, texts

SAMPLED = {"temperature": 1.0, "max_tokens": 16}


def test_same_seed_same_sample(engine_of: EngineOf) -> None:
    engine = engine_of("qwen3")
    assert texts(answer(engine, requests(seed=7, **SAMPLED))) == texts(answer(engine, requests(seed=7, **SAMPLED)))


def test_other_seed_other_sample(engine_of: EngineOf) -> None:
    engine = engine_of("qwen3")
    hot = {**SAMPLED, "temperature": 3.0}
    assert texts(answer(engine, requests(seed=7, **hot))) != texts(answer(engine, requests(seed=8, **hot)))


def test_temperature_zero_ignores_the_seed(engine_of: EngineOf) -> None:
    engine = engine_of("llama")
    greedy = texts(answer(engine, requests(max_tokens=8)))
    assert texts(answer(engine, requests(temperature=0.0, seed=3, max_tokens=8))) == greedy


@pytest.mark.parametrize("shape", ["llama", "t5"])
def test_neighbours_do_not_change_a_sample(shape: str, engine_of: EngineOf) -> None:
    engine = engine_of(shape)
    together = answer(engine, requests(seed=1, num_beams=1, **SAMPLED))
    alone = [c for r in requests(seed=1, num_beams=1, **SAMPLED) for c in engine.generate([r])]
    assert texts(together) == texts(alone)
    engine.limits = Limits(max_slots=2)
    assert texts(answer(engine, requests(seed=1, num_beams=1, **SAMPLED))) == texts(alone)


def test_top_k_of_one_is_greedy(engine_of: EngineOf) -> None:
    engine = engine_of("gpt2")
    greedy = texts(answer(engine, requests(max_tokens=8)))
    assert texts(answer(engine, requests(temperature=5.0, top_k=1, max_tokens=8))) == greedy
    assert texts(answer(engine, requests(temperature=5.0, top_p=1e-6, max_tokens=8))) == greedy


def test_samples_follow_the_distribution() -> None:
    import torch

    from sqlinfer.engine.generation_settings import Defaults
    from sqlinfer.engine.sampling.sampler import draw
    from sqlinfer.engine.sequence import Sequence

    defaults = Defaults({}, {}, eos=frozenset(), context=None, is_encoder_decoder=False)
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05])

    def shares(**more: object) -> list[float]:
        rows = []
        for seed in range(4000):
            settings = defaults.resolve(Parameters(temperature=1.0, seed=seed, **more), "generate")
            rows.append(Sequence(Request(""), settings, [1], [1]))
        tokens = draw(rows, probs.log().expand(4000, 4))
        return [(tokens == i).float().mean().item() for i in range(4)]

    assert shares() == pytest.approx(probs.tolist(), abs=0.03)
    assert shares(top_k=2) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    assert shares(top_p=0.9) == pytest.approx([0.526, 0.316, 0.158, 0], abs=0.03)


def test_parameters_are_per_row(engine_of: EngineOf) -> None:
    engine = engine_of("bart")
    choices = [
        Parameters(max_tokens=5, min_tokens=0, num_beams=1),
        Parameters(max_tokens=20, num_beams=2),
        Parameters(max_tokens=9, temperature=1.0, seed=4),
        Parameters(),
    ]
    batch = [replace(r, parameters=p) for r, p in zip(requests(TEXTS[:4]), choices, strict=True)]
    together = answer(engine, batch)
    assert texts(together) == [c.output for r in batch for c in engine.generate([r])]
    assert [c.completion_tokens <= m for c, m in zip(together, (5, 20, 9, 40), strict=True)] == [True] * 4


def test_max_tokens_ends_an_answer_and_says_so(engine_of: EngineOf) -> None:
    completions = answer(engine_of("gpt2"), requests(max_tokens=3))
    assert {c.completion_tokens for c in completions if c.finish_reason == "length"} == {3}


def test_min_tokens_keeps_an_answer_going(engine_of: EngineOf) -> None:
    engine = engine_of("qwen3")
    free = answer(engine, requests(max_tokens=60))
    early = [int(c.request.key) for c in free if c.finish_reason == "stop" and c.completion_tokens < 50]
    assert early, "some answer of the tiny model ends by itself"
    longer = answer(engine, requests(max_tokens=60, min_tokens=50))
    assert all(longer[i].completion_tokens >= 50 for i in early)


@pytest.mark.parametrize("shape", ["gpt2", "t5"])
def test_stop_text_ends_the_answer_and_is_cut(shape: str, engine_of: EngineOf) -> None:
    engine = engine_of(shape)
    whole = texts(answer(engine, requests(max_tokens=24)))
    stops = [text[8:11] for text in whole]  # three characters, wherever the tokens begin and end
    batch = [
        replace(r, parameters=replace(r.parameters, stop=("not there", stop)))
        for r, stop in zip(requests(max_tokens=24), stops, strict=True)
    ]
    completions = answer(engine, batch)
    expected = [t[: t.find(s)] if "\ufffd" not in s else None for t, s in zip(whole, stops, strict=True)]
    checked = [(c, e) for c, e in zip(completions, expected, strict=True) if e is not None]
    assert len(checked) >= 3
    for completion, text in checked:
        assert completion.output == text
        assert completion.finish_reason == "stop"
        assert completion.completion_tokens < 24


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_k": -1},
        {"num_beams": 0},
        {"num_beams": 4},
        {"max_tokens": 4000},
    ],
)
def test_wrong_parameter_fails_its_row_alone(wrong: dict[str, float], engine_of: EngineOf) -> None:
    good, bad = requests(["good", "bad"], max_tokens=4)
    bad = replace(bad, parameters=Parameters(**wrong))
    completions = answer(engine_of("llama"), [good, bad])
    assert completions[0].error is None
    assert completions[1].output is None
    assert next(iter(wrong)) in str(completions[1].error)


def test_registration_gives_defaults_and_the_request_overrides(version_of) -> None:
    from sqlinfer.engine import open_engine

    engine = open_engine(version_of("gpt2", parameters=Parameters(max_tokens=2, stop=("x",))), device="cpu")
    assert engine.runner.defaults("generate")["max_tokens"] == 2
    assert answer(engine, requests(["a"]))[0].completion_tokens == 2
    assert answer(engine, requests(["a"], max_tokens=5))[0].completion_tokens == 5
