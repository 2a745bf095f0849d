"""The running batch of a decoder-only model that reads images in its prompts: padded, as those of texts alone.

Knows no image processor: a sequence brings the tensors of its images.
"""

from __future__ import annotations

from typing import Any

import torch

from sqlinfer.engine.attention.self_test import tolerance
from sqlinfer.engine.batch.padded_decoder import PaddedDecoderBatch
from sqlinfer.engine.cache import padded_cache as kv
from sqlinfer.engine.sequence import Sequence


class ImageDecoderBatch(PaddedDecoderBatch):
    """Sequences in flight, some of whose prompts have images, with their padded KV cache."""

    def _run_prompts(self, rows: list[Sequence]) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """Logits (rows, vocab), cache and mask; prompts whose images have equal shapes run together."""
        groups: dict[Any, list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(_shapes(row), []).append(index)
        if list(groups) == [None]:
            return super()._run_prompts(rows)
        parts = [self._run_group([rows[index] for index in group]) for group in groups.values()]
        logits, cache, mask = parts[0]
        for more_logits, more_cache, more_mask in parts[1:]:
            logits = torch.cat([logits, more_logits])
            kv.merge(cache, more_cache, left=True)
            mask = kv.merge_masks(mask, more_mask, left=True)
        order = torch.tensor([index for group in groups.values() for index in group], device=mask.device).argsort()
        kv.reorder_rows(cache, order)
        return logits[order], cache, mask[order]

    def _run_group(self, rows: list[Sequence]) -> tuple[torch.Tensor, Any, torch.Tensor]:
        if rows[0].images is None:
            return super()._run_prompts(rows)
        cache, _ = kv.new_cache(self.model.config)
        ids, mask = kv.pad_rows([row.token_ids for row in rows], self.model.device, left=True)
        images = [row.images or {} for row in rows]
        stacked = {name: torch.cat([each[name] for each in images]) for name in images[0]}
        logits = self._forward(ids, mask, kv.positions(mask), cache, images=self._moved(stacked))[:, 0]
        return logits, cache, mask

    def _moved(self, images: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        device, dtype = self.model.device, self.model.dtype
        return {name: t.to(device, dtype if t.is_floating_point() else None) for name, t in images.items()}


def _shapes(row: Sequence) -> Any:
    """What rows must share to run together; None for a prompt without images."""
    if row.images is None:
        return None
    return len(row.token_ids), *((name, tuple(tensor.shape)) for name, tensor in row.images.items())


@torch.inference_mode()
def find_fault(model: Any, samples: list[Sequence]) -> str:
    """Why prompts with images cannot be computed as those of texts are, position by position, and several at once; ""
    if they can. samples: two sequences whose images have equal shapes. Raises what the model raises."""
    batch = ImageDecoderBatch(model)
    if not batch.can_merge:
        return "its cache is of a kind that cannot be padded"
    token = samples[0].prompt[-1]
    plain = []
    for sample in samples:
        ids = torch.tensor([[*sample.prompt, token]], device=model.device)
        plain.append(model(input_ids=ids, **batch._moved(sample.images or {})).logits[0, -2:].float())
    expected = torch.stack(plain)  # (samples, last two tokens, vocab)
    prefilled = batch.prefill(samples).float()
    for sample in samples:
        sample.output.append(token)
        sample.num_uncomputed_tokens = 1
    logits = torch.stack([prefilled, batch.decode().float()], dim=1)
    is_same = torch.allclose(logits, expected, rtol=0, atol=tolerance(model) * float(expected.abs().max()))
    return "" if is_same else "token by token it gives other logits than for a whole prompt with an image"
