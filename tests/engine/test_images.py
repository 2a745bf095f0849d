"""Image classifiers and models of images and texts give what transformers computes for one image at a time."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from sqlinfer.engine import open_engine
from sqlinfer.engine.input.images import decode_image
from sqlinfer.engine.model.weights import quiet
from sqlinfer.errors import ModelUnusable
from sqlinfer.types import Classify, Completion, Embed, ModelVersion
from tests.engine.engine_cases import EngineOf, answer
from tests.engine.image_cases import BAD, GOOD, SAME, picture, png, saved, shades_16

FolderOf = Callable[[str], Path]
CLASSIFIERS = ("vit", "resnet")


def classify(engine: Any, images: Sequence[bytes], **more: Any) -> list[Completion]:
    return answer(engine, [Classify("", files=(image,), key=str(i).encode(), **more) for i, image in enumerate(images)])


def embed(engine: Any, *given: bytes | str) -> list[Completion]:
    requests = [Embed(x) if isinstance(x, str) else Embed("", files=(x,)) for x in given]
    return answer(engine, [Embed(r.text, files=r.files, key=str(i).encode()) for i, r in enumerate(requests)])


def outputs(completions: list[Completion]) -> np.ndarray:
    assert not [completion.error for completion in completions if completion.error]
    return np.stack(
        [np.array([*c.output.values()] if isinstance(c.output, dict) else c.output, dtype=float) for c in completions]
    )


def load(folder: Path, head: str, processor: str) -> tuple[Any, Any]:
    with quiet():
        model = getattr(transformers, head).from_pretrained(folder).eval()
        return model, getattr(transformers, processor).from_pretrained(folder)


@pytest.mark.parametrize("shape", CLASSIFIERS)
def test_an_image_in_a_batch_has_the_probabilities_that_transformers_gives_it_alone(
    shape: str, engine_of: EngineOf, folder_of: FolderOf
) -> None:
    images = [saved(picture(i, (30 + i, 60 - i))) for i in range(20)]
    model, processor = load(folder_of(shape), "AutoModelForImageClassification", "AutoImageProcessor")
    with torch.inference_mode():
        alone = [
            model(**processor(Image.open(BytesIO(image)), return_tensors="pt")).logits[0].softmax(0).numpy()
            for image in images
        ]
    completions = classify(engine_of(shape), images)
    assert list(completions[0].output) == ["cat", "dog", "owl"]
    np.testing.assert_allclose(outputs(completions), alone, atol=1e-5)
    assert np.ptp(outputs(completions), axis=0).max() > 0.01  # the image decides


def test_images_and_texts_lie_in_the_space_of_transformers_at_length_one(
    engine_of: EngineOf, folder_of: FolderOf
) -> None:
    texts = ["a cat", "two dogs in the snow", "an owl"]
    completions = embed(engine_of("clip"), png(0), *texts, png(1))
    model, processor = load(folder_of("clip"), "AutoModel", "AutoProcessor")
    with torch.inference_mode():
        expected = [
            *(model.get_image_features(**processor(images=picture(i), return_tensors="pt")) for i in (0, 1)),
            *(model.get_text_features(**processor(text=text, return_tensors="pt")) for text in texts),
        ]
    vectors = torch.cat([output.pooler_output for output in expected])
    unit = torch.nn.functional.normalize(vectors, dim=-1).numpy()[[0, 2, 3, 4, 1]]
    np.testing.assert_allclose(outputs(completions), unit, atol=1e-5)
    assert [c.prompt_tokens > 0 for c in completions] == [False, True, True, True, False]
    assert engine_of("clip").loaded.embedding_width == unit.shape[1]


@pytest.mark.parametrize("form", SAME)
def test_the_form_of_a_file_does_not_change_the_picture(form: str) -> None:
    np.testing.assert_array_equal(np.asarray(decode_image(SAME[form]()).pixels), np.asarray(picture()))


def test_shades_of_16_bits_become_those_of_8() -> None:
    np.testing.assert_array_equal(
        np.asarray(decode_image(shades_16()).pixels), np.asarray(picture().convert("L").convert("RGB"))
    )


def test_a_faulty_image_is_its_row_s_error_and_the_others_have_their_answers(engine_of: EngineOf) -> None:
    good = [png(i) for i in range(3)]
    odd, bad = [make() for make in GOOD.values()], [make() for make, _ in BAD.values()]
    completions = classify(engine_of("vit"), [*bad, *odd, *good])
    for completion, (_, problem) in zip(completions, BAD.values(), strict=False):
        assert problem in (completion.error or "")
    assert [c.error for c in completions[len(bad) :]] == [None] * (len(odd) + len(good))
    np.testing.assert_allclose(outputs(completions[-3:]), outputs(classify(engine_of("vit"), good)), atol=1e-5)


def test_of_an_animated_image_the_first_frame_is_read_and_the_rest_counts_as_cut(engine_of: EngineOf) -> None:
    first, _ = classify(engine_of("vit"), [SAME["apng"](), png()], overflow="truncate")
    assert (first.truncated, first.error) == (True, None)
    np.testing.assert_array_equal(outputs([first]), outputs(classify(engine_of("vit"), [png()], overflow="truncate")))
    (refused,) = classify(engine_of("vit"), [SAME["apng"]()], overflow="error")
    assert "the image has several frames" in (refused.error or "")


def test_texts_and_images_are_refused_by_a_model_that_does_not_read_them(engine_of: EngineOf) -> None:
    (text,) = answer(engine_of("vit"), [Classify("a cat", key=b"0")])
    assert "classifies images, and this is a text. An image is a BLOB" in (text.error or "")
    (image,) = embed(engine_of("bert"), png())
    assert "embeds texts, and this needs one that reads images" in (image.error or "")


def test_a_model_of_images_without_pillow_names_what_to_install(
    version_of: Callable[..., ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, version = png(), version_of("vit")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModelUnusable, match=r'Pillow is missing. pip install "sqlinfer\[images\]"'):
        classify(open_engine(version, device="cpu"), [image])


def test_a_folder_without_image_processor_is_refused_by_name(folder_of: FolderOf, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_of("vit"), tmp_path / "vit"))
    (folder / "preprocessor_config.json").unlink()
    version = ModelVersion("vit", 1, str(folder), folder, "f", dtype="float32")
    with pytest.raises(ModelUnusable, match="image processor cannot be loaded"):
        classify(open_engine(version, device="cpu"), [png()])
