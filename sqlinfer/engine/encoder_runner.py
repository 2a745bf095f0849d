"""The role of a model that reads and does not write: texts to embeddings, label probabilities or scores of pairs.

Loads torch when the first batch runs.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from typing import TYPE_CHECKING, Any

from sqlinfer.engine.input.encoder_inputs import EncoderInput
from sqlinfer.engine.input.image_inputs import ImageInput
from sqlinfer.engine.loaded_model import LoadedModel
from sqlinfer.engine.scheduler import Limits
from sqlinfer.types import AnyRequest, Choose, Completion

if TYPE_CHECKING:
    from sqlinfer.engine.batch.encoder import EncoderLoop


class EncoderRunner:
    """Embeds, classifies or reranks with an encoder of texts or images."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded

    def prepare(self, requests: Series[AnyRequest]) -> Series[EncoderInput | ImageInput | Completion]:
        """An input for each request, or the completion of one that needs no model."""
        return self._loaded.inputs.prepare(requests)

    def open_loop(self, limits: Limits | None) -> EncoderLoop:
        """A loop without texts, whose batches are bounded by limits, or by what suits the device."""
        from sqlinfer.engine.batch.encoder import EncoderLoop

        encoder = self._loaded.encoder
        if limits is not None:
            encoder.bound(limits.max_prefill_tokens)
        return EncoderLoop(encoder, self._loaded.check_runs)

    @property
    def layout(self) -> str:
        """How inputs share a batch: packed, padded, or one by one."""
        encoder = self._loaded.encoder
        return "one by one" if encoder.solo_reason else "packed" if encoder.is_packed else "padded"

    def complete(self, finished: Completion) -> Completion:
        """The same: an encoder's loop makes completions."""
        return finished

    def count_prompt_tokens(self, requests: Series[AnyRequest]) -> list[int]:
        """Tokens of each text as the model reads it; 0 for a request that cannot be answered."""
        return self._loaded.inputs.count(requests)

    def read_prompt(self, request: AnyRequest) -> str:
        """The text of a request, after its query if it has one, or what stands for an image."""
        query = request.query if isinstance(request, Choose) else ""
        return f"{query}\n\n{request.excerpt}" if query else request.excerpt

    def describe(self) -> dict[str, Any]:
        """How much the model reads, and its labels or how it embeds, under its kind."""
        limits, head = self._loaded.inputs.limits, self._loaded.pooling_head
        facts: dict[str, Any] = {"max_tokens": limits.max_tokens} if limits.max_tokens else {}
        if limits.media != "texts":
            facts["reads"] = limits.media
        if limits.labels:
            facts["labels"] = list(limits.labels)
        if limits.kind == "embed":
            facts["dimensions"] = self._loaded.embedding_width
        if head:
            facts["pooling"] = list(head.pooling)
            facts["normalized"] = bool(head.layers) and head.layers[-1] is None
        return {self._loaded.model_kind: facts}
