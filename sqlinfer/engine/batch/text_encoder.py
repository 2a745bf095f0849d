"""Batches of texts: packed where the model allows it; else those of about equal length share a batch, so that little
of it is padding. Knows no tokenizer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Series
from typing import Any

import torch

from sqlinfer.engine.attention.packed_encoder import can_pack, forward_packed
from sqlinfer.engine.batch.encoder import Encoder
from sqlinfer.engine.input.encoder_inputs import EncoderInput, EncoderLimits
from sqlinfer.engine.model.pooling import PoolingHead, load_layers, pool
from sqlinfer.engine.model.probe import ModelTraits, run_short_text, sample_ids
from sqlinfer.types import Embed

CPU_TOKENS, CPU_PASS = 1024, 64  # a batch's states stay in the cache of a core
GPU_TOKENS, GPU_PASS = 32768, 4096


class TextEncoder(Encoder):
    """The weights of a model that reads texts."""

    def __init__(self, model: Any, limits: EncoderLimits, head: PoolingHead | None, traits: ModelTraits) -> None:
        super().__init__(model, limits)
        is_cpu = model.device.type == "cpu"
        self.max_tokens = CPU_TOKENS if is_cpu else GPU_TOKENS
        """Tokens of a batch, padding counted; halved for good when memory runs out."""
        self.pass_tokens = CPU_PASS if is_cpu else GPU_PASS
        """The fixed cost of a pass, in tokens: more padding than that costs more than another batch."""
        self._modes = head.pooling if head else ()
        self._layers = load_layers(head, model.device) if head else []
        self._has_types = limits.kind == "rerank" and getattr(model.config, "type_vocab_size", 0) > 1
        self._first_position = traits.encoder.first if traits.encoder else 0
        may_pack = is_cpu and limits.kind == "embed" and not traits.changes_itself
        self.is_packed = may_pack and can_pack(model, self._first_position)
        if traits.changes_itself:
            self.max_tokens, self.solo_reason = 1, "a pass changes the model, which is undone"
        elif not self.is_packed:
            self._run_self_test()

    def _run_self_test(self) -> None:
        """Let batches be of equal length, or of one text, where texts would not have the results that each has alone.

        Raises what a text alone raises.
        """
        ids = sample_ids(self._model.config, 6)
        texts = [EncoderInput(Embed(""), part, [0] * len(part)) for part in (ids, ids[:3], ids[2:5])]
        alone = [self._forward([text])[0] for text in texts]
        for group, pass_tokens in ((texts[:2], self.pass_tokens), (texts[1:], 0)):
            self.pass_tokens = pass_tokens
            fault = self._find_fault(group, torch.stack([alone[texts.index(text)] for text in group]))
            if not fault:
                return
            self.solo_reason = fault
        self.max_tokens = 1

    def batches(self, inputs: Series[EncoderInput]) -> deque[list[EncoderInput]]:
        """Inputs in batches of about equal lengths, the longest first: what does not fit the memory fails early."""
        batches: deque[list[EncoderInput]] = deque()
        longest = tokens = padding = 0
        for text in sorted(inputs, key=lambda text: (-len(text.ids), text.ids)):
            padding += 0 if self.is_packed else longest - len(text.ids)
            tokens += len(text.ids)
            num_tokens = tokens if self.is_packed else (len(batches[-1]) + 1 if batches else 1) * longest
            if batches and padding <= self.pass_tokens and num_tokens <= self.max_tokens:
                batches[-1].append(text)
            else:
                batches.append([text])
                longest, tokens, padding = len(text.ids), len(text.ids), 0
        return batches

    def check(self) -> None:
        """Raise what the model raises for a short text."""
        run_short_text(self._model)

    def bound(self, max_tokens: int) -> None:
        """Bound batches by a number of tokens."""
        self.max_tokens = min(self.max_tokens, max_tokens)

    def _shrink(self, batch: list[EncoderInput]) -> None:
        tokens = sum(len(text.ids) for text in batch) if self.is_packed else len(batch) * len(batch[0].ids)
        self.max_tokens = max(1, tokens // 2)

    @torch.inference_mode()
    def _forward(self, batch: list[EncoderInput]) -> torch.Tensor:
        lengths = torch.tensor([len(text.ids) for text in batch])
        mask = (torch.arange(len(batch[0].ids)) < lengths[:, None]).to(self._model.device)  # (rows, tokens)
        if self._limits.kind != "embed":
            logits: torch.Tensor = self._forward_padded(batch, mask).logits.double().cpu()
            return logits  # (rows, labels)
        if self.is_packed:
            packed = forward_packed(self._model, [text.ids for text in batch], self._first_position)
            states = packed.new_zeros(*mask.shape, packed.shape[-1])
            states[mask] = packed
        else:
            states = self._forward_padded(batch, mask).last_hidden_state
        vectors = pool(states.float(), mask, self._modes)  # bfloat16 has no vectors of length one
        for layer in self._layers:
            vectors = layer(vectors)
        return vectors.cpu()

    def _forward_padded(self, batch: list[EncoderInput], mask: torch.Tensor) -> Any:
        """The model's output for a batch; mask: (rows, tokens)."""
        longest = mask.shape[1]
        options: dict[str, Any] = {}
        if self._has_types:
            options["token_type_ids"] = self._padded([text.type_ids for text in batch], longest)
        if not bool(mask.all()):
            options["attention_mask"] = mask.long()
        return self._model(input_ids=self._padded([text.ids for text in batch], longest), **options)

    def _padded(self, rows: list[list[int]], longest: int) -> torch.Tensor:
        pad = getattr(self._model.config, "pad_token_id", None) or 0
        padded = [row + [pad] * (longest - len(row)) for row in rows]
        return torch.tensor(padded, device=self._model.device)
