"""Texts that nobody waits for any more are not computed by models that read, and the others have their answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlinfer.engine import open_engine
from sqlinfer.engine.scheduler import Limits
from sqlinfer.types import Completion, Embed, ModelVersion
from tests.engine.engine_cases import TEXTS, EngineOf, answer


def test_texts_that_nobody_waits_for_are_not_computed(folder_of: Callable[[str], Path], engine_of: EngineOf) -> None:
    folder = folder_of("bert")
    engine = open_engine(ModelVersion("bert", 1, str(folder), folder, "f", dtype="float32"), device="cpu")
    engine.limits = Limits(max_prefill_tokens=1)  # each text is a batch of its own, the longest comes first
    completions: list[Completion] = []
    last = min(TEXTS, key=len)
    asked = [
        Embed(text, key=str(i).encode(), is_cancelled=lambda text=text: bool(completions) and text != last)
        for i, text in enumerate(TEXTS)
    ]
    for completion in engine.generate(asked):
        completions.append(completion)
    assert sorted(c.request.text for c in completions) == sorted(TEXTS)
    computed = {c.request.text: c.output for c in completions if not c.is_cancelled}
    assert len(computed) == 2
    assert last in computed
    assert all((c.output, c.error) == (None, None) for c in completions if c.is_cancelled)
    alone = {c.request.text: c.output for c in answer(engine_of("bert"), [Embed(text, key=b"0") for text in TEXTS])}
    assert all(alone[text] == output for text, output in computed.items())
