"""Where the engine cuts a text that is too long: each part fits, nothing is lost, and no weights are needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sqlinfer.engine import open_engine
from sqlinfer.types import ModelVersion, Parameters, Request, SplitText
from tests.engine.engine_cases import EngineOf

LONG = "\n\n".join(f"Paragraph {i} has a sentence. And it has another one, which is longer!" for i in range(120))
ASKED = SplitText(LONG, "Say it.", parameters=Parameters(max_tokens=20))


def split(engine: object, request: SplitText) -> list[str]:
    (completion,) = engine.generate([request])  # type: ignore[attr-defined]
    assert completion.error is None
    cuts = completion.output
    return [request.text[a:b] for a, b in zip([0, *cuts], [*cuts, len(request.text)], strict=True)]


@pytest.mark.parametrize("shape", ["llama", "gpt2", "t5", "bart"])
@pytest.mark.parametrize("text", [LONG, "w" * 9000, "word " * 3000, "\u6c49\U0001f600" * 900, "<|end|></s>" * 400])
def test_each_part_fits_and_together_they_are_the_text(shape: str, text: str, engine_of: EngineOf) -> None:
    engine = engine_of(shape)
    request = replace(ASKED, text=text)
    parts = split(engine, request)
    assert "".join(parts) == text
    assert len(parts) > 1
    whole = [Request(part.strip(), request.instruction, parameters=request.parameters) for part in parts]
    assert all(hasattr(outcome, "prompt") for outcome in engine.loaded.prompts.prepare(whole))


def test_parts_end_where_paragraphs_do_and_what_is_added_later_moves_no_cut(engine_of: EngineOf) -> None:
    engine = engine_of("llama")
    parts = split(engine, ASKED)
    assert all(part.endswith("!\n\n") for part in parts[:-1])
    longer = split(engine, replace(ASKED, text=LONG + "\n\nAnd one more."))
    assert longer[: len(parts) - 1] == parts[:-1]


def test_a_text_that_fits_is_not_cut_and_an_instruction_that_does_not_fit_is_refused(
    version_of: Callable[..., ModelVersion],
) -> None:
    engine = open_engine(version_of("gpt2"))
    assert split(engine, replace(ASKED, text="short")) == ["short"]
    (completion,) = engine.generate([replace(ASKED, instruction=LONG)])
    assert "Shorten the instruction" in str(completion.error)
    assert not engine.loaded.is_loaded
