"""Prompts with images: the model's processor writes the tokens that stand for them, and makes their tensors.

Needs a processor and no weights. Its processor makes the tensors, so that torch is loaded with the first image.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence as Series
from typing import Any

from sqlinfer.engine.generation_settings import Defaults
from sqlinfer.engine.input.images import BadImage, DecodedImage, decode_image, on_threads, sample_images
from sqlinfer.engine.input.prompts import ContextLimits, PromptBuilder, chat_of, is_whole_prompt
from sqlinfer.engine.model.model_kind import Media
from sqlinfer.engine.sequence import Sequence, failed
from sqlinfer.errors import describe
from sqlinfer.types import AnyRequest, Completion, Generate, ModelVersion


class ImagePromptBuilder(PromptBuilder):
    """Renders and tokenises the prompts of a model that reads texts and images."""

    media: Media = "texts and images"

    def __init__(self, version: ModelVersion, processor: Any, defaults: Defaults, context: ContextLimits) -> None:
        super().__init__(version, processor.tokenizer, defaults, context)
        self._processor = processor
        self._processing = threading.Lock()  # its tokenizer is not safe among threads

    def prepare(self, requests: Series[AnyRequest]) -> list[Sequence | Completion]:
        """A sequence for each request, or the completion of one that needs no model."""
        with_images = [request for request in requests if isinstance(request, Generate) and request.files]
        decoded = on_threads(_decode, with_images)
        prompts = iter([self._prepare_images(*pair) for pair in zip(with_images, decoded, strict=True)])
        texts = iter(super().prepare([request for request in requests if not request.files]))
        return [next(prompts) if request.files else next(texts) for request in requests]

    def samples(self) -> list[Sequence]:
        """Two prompts with images, to try the model with."""
        prepared = [self._prepare_images(Generate("What is it?"), [image]) for image in sample_images()]
        sequences = [each for each in prepared if isinstance(each, Sequence)]
        if len(sequences) < len(prepared):
            raise ValueError(next(each.error for each in prepared if isinstance(each, Completion)))
        return sequences

    def _prepare_images(self, request: Generate, images: list[DecodedImage] | BadImage) -> Sequence | Completion:
        if isinstance(images, BadImage):
            return failed(request, str(images))
        try:
            tensors = self._process(request, images)
        except Exception as error:  # noqa: BLE001 - of its chat template or its processor
            return failed(request, f"text and images could not be made a prompt: {describe(error)}")
        prompt = tensors.pop("input_ids")[0].tolist()
        sequence = self._prepare_one(request, prompt)
        if isinstance(sequence, Sequence):
            sequence.images = tensors
            sequence.truncated = any(image.is_animated for image in images)
        return sequence

    def _process(self, request: Generate, images: list[DecodedImage]) -> dict[str, Any]:
        """Token ids and the tensors of the images, as the model's arguments, of one row each."""
        if is_whole_prompt(request):
            rendered = request.text
        elif self._template is None:
            rendered = self._processor.image_token * len(images) + self.render(request, request.text)
        else:
            chat = chat_of(request, request.text)
            self._check_spelling("\n".join(content for _, content in chat))
            rendered = self._template.render(chat, len(images)) + self._suffix(request)
        with self._processing:
            tensors = self._processor(
                text=[rendered],
                images=[[image.pixels for image in images]],
                add_special_tokens=self._template is None or is_whole_prompt(request),
                return_tensors="pt",
            )
        return {name: tensor for name, tensor in tensors.items() if name != "attention_mask"}

    def _check_spelling(self, text: str) -> None:
        """Raise ValueError for a text in which the processor would see more images."""
        if spans := self._tokenizer.added_spans(text):
            spelled = text[slice(*spans[0])]
            raise ValueError(f"the text spells {spelled}, a special token of the model; take it out with replace()")


def _decode(request: Generate) -> list[DecodedImage] | BadImage:
    try:
        return [decode_image(file) for file in request.files]
    except BadImage as error:
        return error
