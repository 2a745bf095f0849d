"""Answers about images are those that transformers' own greedy generate gives one row alone."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image

from sqlinfer.engine import open_engine
from sqlinfer.engine.batch import image_decoder
from sqlinfer.engine.model.weights import quiet
from sqlinfer.errors import ModelUnusable
from sqlinfer.types import Generate, ModelVersion, Parameters
from tests.engine.engine_cases import EngineOf, answer
from tests.engine.image_cases import BAD, SAME, picture, png, saved

QUESTION = "What is it?"
NUM_TOKENS = 12


def ask(text: str, *files: bytes, key: int = 0, **parameters: object) -> Generate:
    parameters = {"max_tokens": NUM_TOKENS, **parameters}
    return Generate(text, files=files, key=str(key).encode(), parameters=Parameters(**parameters))


def mixed(**parameters: object) -> list[Generate]:
    """Rows with one image, with two, and with none, of unequal length."""
    given = [
        *((QUESTION, png(i)) for i in range(3)),
        ("Which of the two is larger, and by how much?", png(3), saved(picture(4, (20, 70)))),
        ("The box was open.",),
    ]
    return [ask(text, *files, key=i, **parameters) for i, (text, *files) in enumerate(given)]


def generate_alone(folder: Path, request: Generate) -> list[int]:
    with quiet():
        model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
        processor = transformers.AutoProcessor.from_pretrained(folder)
    parts = [{"type": "image"}] * len(request.files) + [{"type": "text", "text": request.text}]
    chat = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    images = [Image.open(BytesIO(file)) for file in request.files]
    inputs = processor(text=[chat], images=[images] if images else None, add_special_tokens=False, return_tensors="pt")
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=NUM_TOKENS, do_sample=False)
    return output[0, inputs["input_ids"].shape[1] :].tolist()


def test_rows_with_images_in_a_batch_are_those_that_transformers_generates_alone(
    engine_of: EngineOf, folder_of: Callable[[str], Path]
) -> None:
    completions = answer(engine_of("llava"), mixed())
    decode = engine_of("llava").loaded.prompts.decode
    assert [str(c.output) for c in completions] == [decode(generate_alone(folder_of("llava"), r)) for r in mixed()]
    assert len({str(c.output) for c in completions}) == len(completions)  # the image decides
    assert {c.completion_tokens for c in completions} == {NUM_TOKENS}


@pytest.mark.parametrize("parameters", [{"stop": ("e",)}, {"temperature": 1.0, "seed": 7}, {"max_tokens": 3}])
def test_a_row_with_an_image_alone_has_the_answer_that_it_has_in_a_batch(
    parameters: dict[str, object], engine_of: EngineOf
) -> None:
    engine = engine_of("llava")
    together = answer(engine, mixed(**parameters))
    alone = [answer(engine, [request])[0] for request in mixed(**parameters)]
    assert [(c.output, c.finish_reason) for c in together] == [(c.output, c.finish_reason) for c in alone]
    assert [c.output for c in together] != [c.output for c in answer(engine, mixed())]


def test_an_answer_about_an_image_satisfies_its_schema(engine_of: EngineOf) -> None:
    (completion,) = answer(
        engine_of("llava"), [Generate(QUESTION, files=(png(),), key=b"0", schema='{"enum": [1, 2]}')]
    )
    assert str(completion.output) in ("1", "2")


def test_a_faulty_image_in_a_prompt_is_its_row_s_error(engine_of: EngineOf) -> None:
    bad = [ask(QUESTION, png(), make(), key=i) for i, (make, _) in enumerate(BAD.values())]
    good = ask(QUESTION, png(), key=len(bad))
    *failed, last = answer(engine_of("llava"), [*bad, good])
    assert all(problem in (c.error or "") for c, (_, problem) in zip(failed, BAD.values(), strict=True))
    assert last.output == answer(engine_of("llava"), [ask(QUESTION, png())])[0].output
    (animated,) = answer(engine_of("llava"), [ask(QUESTION, SAME["apng"]())])
    assert (animated.output, animated.truncated) == (last.output, True)


def test_a_text_that_spells_the_token_of_an_image_costs_its_row(engine_of: EngineOf) -> None:
    (refused, long) = answer(
        engine_of("llava"), [ask("What is <image> here?", png()), ask("word " * 1000, png(), key=1)]
    )
    assert "the text spells <image>, a special token of the model" in (refused.error or "")
    assert "tokens, and model llava/1 reads" in (long.error or "")


def test_a_model_of_texts_refuses_images(engine_of: EngineOf) -> None:
    (refused,) = answer(engine_of("llama"), [ask(QUESTION, png())])
    assert refused.error == "model llama/1 writes text, and this needs one that reads images"


def test_a_model_whose_images_have_positions_of_their_own_is_refused(
    version_of: Callable[..., ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = image_decoder.kv.positions
    monkeypatch.setattr(image_decoder.kv, "positions", lambda mask: right(mask) // 2)
    with pytest.raises(ModelUnusable, match="token by token it gives other logits than for a whole prompt"):
        answer(open_engine(version_of("llava"), device="cpu"), [ask(QUESTION, png())])
