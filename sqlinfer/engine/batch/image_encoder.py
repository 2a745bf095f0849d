"""Batches of images, of equal size as the model reads them, and of texts of equal length for a model that has both in
one space. Knows no image processor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Series
from typing import Any

import torch

from sqlinfer.engine.batch.encoder import AnyInput, Encoder
from sqlinfer.engine.input.encoder_inputs import EncoderInput, EncoderLimits
from sqlinfer.engine.input.image_inputs import ImageInput

CPU_IMAGES, GPU_IMAGES = 16, 128
CPU_TEXTS, GPU_TEXTS = 64, 512


class ImageEncoder(Encoder):
    """The weights of a model that classifies or embeds images; embeddings have length one.

    samples: two images, with which it is tried.
    """

    def __init__(self, model: Any, limits: EncoderLimits, samples: Series[ImageInput]) -> None:
        super().__init__(model, limits)
        self._samples = samples
        is_cpu = model.device.type == "cpu"
        self._most_images = CPU_IMAGES if is_cpu else GPU_IMAGES
        self._most_texts = CPU_TEXTS if is_cpu else GPU_TEXTS
        self.solo_reason = self._find_fault(samples, torch.cat([self._forward([sample]) for sample in samples]))
        if self.solo_reason:
            self._most_images = 1

    def batches(self, inputs: Series[AnyInput]) -> deque[list[AnyInput]]:
        """Inputs in batches: images of equal shapes together, and texts of equal length."""
        groups: dict[Any, list[AnyInput]] = {}
        for each in inputs:
            groups.setdefault(each.shapes if isinstance(each, ImageInput) else each.num_tokens, []).append(each)
        return deque(
            group[start : start + size]
            for group in groups.values()
            for size in [self._most_images if isinstance(group[0], ImageInput) else self._most_texts]
            for start in range(0, len(group), size)
        )

    def bound(self, max_tokens: int) -> None:
        """Bound batches by a number of tokens, of which an image has one."""
        self._most_images, self._most_texts = min(self._most_images, max_tokens), min(self._most_texts, max_tokens)

    def _shrink(self, batch: list[AnyInput]) -> None:
        if isinstance(batch[0], ImageInput):
            self._most_images = max(1, len(batch) // 2)
        else:
            self._most_texts = max(1, len(batch) // 2)

    def check(self) -> None:
        """Raise what the model raises for a sample."""
        self._forward([self._samples[0]])

    @torch.inference_mode()
    def _forward(self, batch: list[AnyInput]) -> torch.Tensor:
        tensors = _stacked([each for each in batch if isinstance(each, ImageInput)])
        texts = [each.ids for each in batch if isinstance(each, EncoderInput)]
        if texts:
            output = self._model.get_text_features(input_ids=torch.tensor(texts, device=self._model.device))
        else:
            device, dtype = self._model.device, self._model.dtype
            moved = {name: t.to(device, dtype if t.is_floating_point() else None) for name, t in tensors.items()}
            run = self._model.get_image_features if self._limits.media == "texts and images" else self._model
            output = run(**moved)
        if self._limits.kind != "embed":
            logits: torch.Tensor = output.logits.double().cpu()
            return logits  # (images, labels)
        return torch.nn.functional.normalize(_pooled(output).float(), dim=-1).cpu()  # (rows, width)


def _stacked(images: Series[ImageInput]) -> dict[str, torch.Tensor]:
    names = images[0].tensors if images else ()
    return {name: torch.cat([image.tensors[name] for image in images]) for name in names}


def _pooled(output: Any) -> torch.Tensor:
    """The vector of each row: pooled by the model, or else the mean of its states."""
    if isinstance(output, torch.Tensor):
        return output
    pooled: torch.Tensor | None = getattr(output, "pooler_output", None)
    return output.last_hidden_state.mean(dim=1) if pooled is None else pooled.flatten(1)
