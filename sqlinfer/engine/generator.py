"""The role of a model that writes text: requests to sequences, sequences through the model, token ids to text.

Loads torch when the first batch runs.
"""

from __future__ import annotations

from collections.abc import Sequence as Series
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlinfer.engine.loaded_model import LoadedModel
from sqlinfer.engine.scheduler import Limits, fit_limits
from sqlinfer.engine.sequence import Sequence
from sqlinfer.types import AnyRequest, Completion, Task

if TYPE_CHECKING:
    from sqlinfer.engine.generation_loop import GenerationLoop


class Generator:
    """Generates with a decoder-only or an encoder-decoder model, and scores choices with it."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded

    def prepare(self, requests: Series[AnyRequest]) -> list[Sequence | Completion]:
        """A sequence for each request, or the completion of one that needs no model."""
        return self._loaded.prompts.prepare(requests)

    def open_loop(self, limits: Limits | None) -> GenerationLoop:
        """A loop with an empty batch, bounded by limits, or by what the device can hold."""
        from sqlinfer.engine.batch.paged_decoder import PagedDecoderBatch
        from sqlinfer.engine.generation_loop import GenerationLoop
        from sqlinfer.engine.model.device import cache_bytes_per_token, free_memory

        batch, model = self._loaded.open_batch(), self._loaded.model
        bounds = limits or fit_limits(
            free_memory(model.device),
            cache_bytes_per_token(model.config, model.dtype),
            on_gpu=model.device.type != "cpu",
        )
        if isinstance(batch, PagedDecoderBatch):
            bounds = replace(
                bounds, max_tokens=min(batch.max_tokens, limits.max_tokens if limits else batch.max_tokens)
            )
        bounds = replace(bounds, can_refill=bounds.can_refill and batch.can_merge, is_packed=batch.is_packed)
        if self._loaded.solo_reason:
            bounds = replace(bounds, max_slots=1)
        return GenerationLoop(batch, bounds, self._loaded.prompts.decode, self._loaded.check_runs)

    @property
    def layout(self) -> str:
        """How rows share a batch: with a paged KV cache, packed, padded, or one by one."""
        from sqlinfer.engine.batch.paged_decoder import PagedDecoderBatch

        batch = self._loaded.open_batch()
        if self._loaded.solo_reason:
            return "one by one"
        return "paged" if isinstance(batch, PagedDecoderBatch) else "packed" if batch.is_packed else "padded"

    def complete(self, finished: Sequence) -> Completion:
        """The completion of a finished sequence."""
        return self._loaded.prompts.complete(finished)

    def count_prompt_tokens(self, requests: Series[AnyRequest]) -> list[int]:
        """Tokens of each prompt; 0 for a request that cannot be answered."""
        return self._loaded.prompts.count(requests)

    def read_prompt(self, request: AnyRequest) -> str:
        """The prompt of a request, before it is cut to fit."""
        return self._loaded.prompts.render(request, request.text)

    def describe(self) -> dict[str, Any]:
        """The parameters of a request for the model's task that leaves them all open, under "generation"."""
        return {"generation": self.defaults("summarize" if self._loaded.version.task == "summarize" else "generate")}

    def defaults(self, task: Task) -> dict[str, Any]:
        """The parameters, by name, of a request for a task that leaves them all open."""
        settings = self._loaded.prompts.defaults.resolve(self._loaded.version.parameters, task)
        parameters = {
            "max_tokens": settings.max_tokens,
            "min_tokens": settings.min_tokens,
            "temperature": settings.temperature,
            "num_beams": settings.num_beams,
        }
        if settings.temperature > 0:
            parameters |= {"top_p": settings.top_p, "top_k": settings.top_k, "seed": settings.seed}
        return parameters | dict(settings.model)
