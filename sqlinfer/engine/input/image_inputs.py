"""Requests to the tensors of an image encoder's input; the texts of a model that reads both go to EncoderInputs.

Needs an image processor and no weights. Its processor makes the tensors, so that torch is loaded with the first image.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Series
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlinfer.engine.input.encoder_inputs import EncoderInput, EncoderInputs, EncoderLimits
from sqlinfer.engine.input.images import BadImage, decode_image, on_threads, sample_images
from sqlinfer.engine.model.model_kind import unsupported_reason
from sqlinfer.engine.sequence import failed
from sqlinfer.errors import describe
from sqlinfer.types import AnyRequest, Classify, Completion, ModelVersion

if TYPE_CHECKING:
    from sqlinfer.engine.model.probe import PositionTable


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An image as the model reads it."""

    request: AnyRequest
    """The request."""
    tensors: Mapping[str, Any]
    """The model's arguments, of one row each."""
    truncated: bool = False
    """Whether the image has further frames, which are left out."""
    num_tokens: int = 0
    """An image counts none."""
    description: str = "image"
    """What it is, for messages."""

    @property
    def shapes(self) -> tuple[Any, ...]:
        """Those of equal shapes can share a batch."""
        return tuple(tuple(tensor.shape) for tensor in self.tensors.values())


class ImageInputs:
    """Prepares the images of one model, and its texts if it reads texts."""

    def __init__(
        self, version: ModelVersion, processor: Any, limits: EncoderLimits, texts: EncoderInputs | None
    ) -> None:
        self.version = version
        self.processor = processor
        self._limits = limits
        self._texts = texts

    @property
    def limits(self) -> EncoderLimits:
        """What the model takes."""
        return self._texts.limits if self._texts else self._limits

    def prepare(self, requests: Series[AnyRequest]) -> list[EncoderInput | ImageInput | Completion]:
        """An input for each request, or the completion of one that needs no model."""
        with_images = [request for request in requests if request.files]
        images = iter(on_threads(self._prepare_image, with_images))
        texts = iter(self._prepare_texts([request for request in requests if not request.files]))
        return [next(images) if request.files else next(texts) for request in requests]

    def fit(self, positions: PositionTable | None) -> bool:
        """Bound texts by the model's table of positions, if it has one; whether that changes the bound."""
        return self._texts is not None and self._texts.fit(positions)

    def count(self, requests: Series[AnyRequest]) -> list[int]:
        """Tokens of each text; 0 for an image, and for a request that fails."""
        texts = iter(self._texts.count([r for r in requests if not r.files]) if self._texts else ())
        return [0 if request.files else next(texts, 0) for request in requests]

    def process(self, pixels: Any) -> Mapping[str, Any]:
        """The model's arguments for an image of PIL, of one row each."""
        return dict(self.processor(images=[pixels], return_tensors="pt"))

    def samples(self) -> list[ImageInput]:
        """Two images, to try the model with."""
        return [ImageInput(Classify(""), self.process(image.pixels)) for image in sample_images()]

    def _prepare_texts(self, requests: Series[AnyRequest]) -> Series[EncoderInput | Completion]:
        if self._texts is not None:
            return self._texts.prepare(requests)
        reasons = [unsupported_reason(self.limits.kind, self.limits.media, request) for request in requests]
        return [failed(r, f"model {self.version} {reason}") for r, reason in zip(requests, reasons, strict=True)]

    def _prepare_image(self, request: AnyRequest) -> ImageInput | Completion:
        if reason := unsupported_reason(self.limits.kind, self.limits.media, request):
            return failed(request, f"model {self.version} {reason}")
        try:
            image = decode_image(request.files[0])
            if image.is_animated and getattr(request, "overflow", "") == "error":
                remedy = "Give one frame, or let the first be taken (overflow: truncate)"
                return failed(request, f"the image has several frames, and {self.version} reads one. {remedy}")
            return ImageInput(request, self.process(image.pixels), image.is_animated)
        except BadImage as error:
            return failed(request, str(error))
        except Exception as error:  # noqa: BLE001 - of its processor
            return failed(request, f"the image processor of model {self.version} fails: {describe(error)}")
