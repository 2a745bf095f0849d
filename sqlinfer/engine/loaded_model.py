"""The parts of one model version, each loaded when it is first needed; weights and caches can be freed again.

Importing it loads neither torch nor transformers.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlinfer.engine.batch.batch import Batch
from sqlinfer.engine.input.encoder_inputs import EncoderInputs
from sqlinfer.engine.input.image_inputs import ImageInputs
from sqlinfer.engine.input.image_prompts import ImagePromptBuilder
from sqlinfer.engine.input.prompts import PromptBuilder
from sqlinfer.engine.model.device import pick_device
from sqlinfer.engine.model.memory_estimate import MemoryEstimate, estimate_memory
from sqlinfer.engine.model.model_kind import Media, find_media, find_model_kind
from sqlinfer.engine.residency import count_users, load
from sqlinfer.types import Cancel, ModelKind, ModelVersion

if TYPE_CHECKING:
    from sqlinfer.engine.attention.paged_runner import PagedModel
    from sqlinfer.engine.batch.encoder import Encoder
    from sqlinfer.engine.model.pooling import PoolingHead
    from sqlinfer.engine.model.probe import ModelTraits

ROW_TOKENS = 4096  # of KV cache, besides the weights: less would leave no room for a batch
logger = logging.getLogger(__name__)


class LoadedModel:
    """What the runners of a model version share: configuration, tokenizer side, weights, paged KV cache."""

    def __init__(self, version: ModelVersion, dtype: str | None = None, device: str | None = None) -> None:
        self.version = version
        self.dtype = dtype or version.dtype
        """The name of the dtype that was asked for; the hardware may not have it."""
        self.device = device
        """The name of the device; None for SQLINFER_DEVICE or the fastest."""
        self.step_lock = threading.Lock()
        """Held during each forward pass."""
        self._lock = threading.RLock()
        self._config: Any = None
        self._prompts: PromptBuilder | None = None
        self._inputs: EncoderInputs | ImageInputs | None = None
        self._model: Any = None
        self._encoder: Encoder | None = None
        self._paged: PagedModel | None = None
        self._padding_reason: str | None = None
        self._solo_reason: str | None = None
        self._traits: Any = None  # ModelTraits, once the weights are loaded
        self._is_refitted = False
        count_users(self, 0)

    @property
    def config(self) -> Any:
        """The transformers configuration of the model."""
        from sqlinfer.engine.model.weights import load_config

        with self._lock:
            self._config = self._config or load_config(self.version)
            return self._config

    @property
    def model_kind(self) -> ModelKind:
        """What the model is for."""
        return find_model_kind(self.version, self.config)

    @property
    def media(self) -> Media:
        """What the model reads."""
        return find_media(self.config)

    @property
    def _encodes_images(self) -> bool:
        return self.media != "texts" and self.model_kind != "generate"

    @property
    def pooling_head(self) -> PoolingHead | None:
        """How a model that embeds texts pools their states; None for another kind."""
        from sqlinfer.engine.model.pooling import load_head

        return load_head(self.version, self.config) if self.media == "texts" else None

    @property
    def embedding_width(self) -> int | None:
        """Numbers in an embedding; None if the model does not embed."""
        from sqlinfer.engine.model.pooling import feature_width

        if self.model_kind == "embed" and self._encodes_images:
            return feature_width(self.config)
        head = self.pooling_head
        return head.width(self.config.hidden_size) if head else None

    @property
    def prompts(self) -> PromptBuilder:
        """The tokenizer side of a model that writes; needs no weights."""
        from sqlinfer.engine.input.load import load_prompts

        with self._lock:
            self._prompts = self._prompts or load_prompts(self.version, self.config)
            return self._prompts

    @property
    def inputs(self) -> EncoderInputs | ImageInputs:
        """The side of an encoder that makes its inputs, a tokenizer or an image processor; needs no weights."""
        from sqlinfer.engine.input.load import load_image_inputs, load_inputs

        with self._lock:
            load = load_inputs if self.media == "texts" else load_image_inputs
            self._inputs = self._inputs or load(self.version, self.config)
            return self._inputs

    @property
    def model(self) -> Any:
        """The transformers model with its weights, on its device."""
        from sqlinfer.engine.model.cpu_linear import replace_linear_layers
        from sqlinfer.engine.model.precision import pick_precision
        from sqlinfer.engine.model.weights import load_model

        with self._lock:
            if self._model is None:
                device = pick_device(self.device)
                precision = pick_precision(self.dtype, device, self.config)
                precision.warn(self.version)
                model = load_model(self.version, self.config, device, precision.dtype)
                replace_linear_layers(model, precision.body, precision.head)
                self._traits = self._probe(model)
                self._model = model
            return self._model

    def _probe(self, model: Any) -> ModelTraits:
        """What a short text shows of the model just loaded; its inputs fit its tables of positions from now on."""
        from sqlinfer.engine.model.probe import ModelTraits, probe_model
        from sqlinfer.engine.model.weights import refusing

        if self._encodes_images:
            return ModelTraits(None, None, False)
        with refusing(self.version):
            traits = probe_model(model)
        if self.model_kind == "generate":
            self._check_images(model)
            self._is_refitted = self.prompts.fit(traits.encoder, traits.decoder)
        else:
            self._is_refitted = self.inputs.fit(traits.encoder)
        return traits

    def _check_images(self, model: Any) -> None:
        """Raise ModelUnusable if prompts with images are not computed as the model does it alone."""
        from sqlinfer.engine.batch.image_decoder import find_fault
        from sqlinfer.engine.model.weights import UPGRADE, refusing, unusable

        with refusing(self.version):
            if isinstance(self.prompts, ImagePromptBuilder) and (fault := find_fault(model, self.prompts.samples())):
                raise unusable(self.version, fault, UPGRADE)

    def check_runs(self) -> None:
        """Raise ModelUnusable unless the model still answers a short text, after it has failed with another."""
        from sqlinfer.engine.model.probe import run_short_text
        from sqlinfer.engine.model.weights import refusing

        with refusing(self.version):
            if self.model_kind == "generate":
                run_short_text(self.model)
            else:
                self.encoder.check()

    def load_and_fit(self, cancel: Cancel | None) -> bool:
        """Load the weights, if they are not, unless cancel is set before there is room. Whether their tables of
        positions have shown other limits than the files beside them, by which requests were prepared before."""
        was_loaded = self.is_loaded
        return load(self, cancel) and not was_loaded and self._is_refitted

    @property
    def encoder(self) -> Encoder:
        """The weights of an encoder with its pooling or classification head."""
        from sqlinfer.engine.batch.image_encoder import ImageEncoder
        from sqlinfer.engine.batch.text_encoder import TextEncoder
        from sqlinfer.engine.model.weights import refusing

        with self._lock:
            model, inputs, head = self.model, self.inputs, self.pooling_head
            if self._encoder is None:
                with refusing(self.version):
                    if isinstance(inputs, ImageInputs):
                        self._encoder = ImageEncoder(model, inputs.limits, inputs.samples())
                    else:
                        self._encoder = TextEncoder(model, inputs.limits, head, self._traits)
                self._warn_of_solo(self._encoder.solo_reason)
            return self._encoder

    @property
    def padding_reason(self) -> str:
        """Why a decoder-only model runs in padded batches, which are slower; "" if its tokens are packed."""
        from sqlinfer.engine.batch.packed_decoder import packing_unsupported_reason
        from sqlinfer.engine.batch.paged_self_test import open_paged

        with self._lock:
            if self._padding_reason is None:
                if self.model.device.type == "cuda":
                    self._paged, self._padding_reason = open_paged(self.model)
                else:
                    self._padding_reason = packing_unsupported_reason(self.model)
                if self._padding_reason:
                    logger.warning("%s: rows are padded, which is slower: %s", self.version, self._padding_reason)
            return self._padding_reason

    @property
    def solo_reason(self) -> str:
        """Why the rows of a model that writes run one by one, which is slower; "" if they share batches."""
        from sqlinfer.engine.batch.self_test import batching_unsupported_reason
        from sqlinfer.engine.model.weights import refusing

        with self._lock:
            if self._solo_reason is None:
                batch = self.open_batch()
                if self._traits.changes_itself:
                    self._solo_reason = "a pass changes the model, which is undone"
                elif batch.is_packed:
                    self._solo_reason = ""
                else:
                    with refusing(self.version):
                        self._solo_reason = batching_unsupported_reason(
                            self.open_batch, self.prompts.context.decoder_start
                        )
                self._warn_of_solo(self._solo_reason)
            return self._solo_reason

    def _warn_of_solo(self, reason: str) -> None:
        if reason:
            logger.warning("%s: rows run one by one, which is slower: %s", self.version, reason)

    def open_batch(self) -> Batch:
        """An empty batch of the fastest kind that model and device allow: packed, or else padded."""
        from sqlinfer.engine.batch.image_decoder import ImageDecoderBatch
        from sqlinfer.engine.batch.packed_decoder import PackedDecoderBatch
        from sqlinfer.engine.batch.padded_decoder import PaddedDecoderBatch
        from sqlinfer.engine.batch.padded_seq2seq import PaddedSeq2SeqBatch
        from sqlinfer.engine.batch.paged_decoder import PagedDecoderBatch

        with self._lock:
            if self.media != "texts":
                return ImageDecoderBatch(self.model)
            if self.config.is_encoder_decoder:
                return PaddedSeq2SeqBatch(self.model)
            on_other = self.model.device.type not in ("cpu", "cuda")
            if on_other or self._traits.changes_itself or self.padding_reason:
                return PaddedDecoderBatch(self.model)
            return PagedDecoderBatch(self._paged) if self._paged is not None else PackedDecoderBatch(self.model)

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._model is not None

    def estimate_memory(self, num_tokens: int) -> MemoryEstimate:
        """What the model needs, with a row of so many tokens, of its device."""
        version = replace(self.version, dtype=self.dtype)
        return estimate_memory(version, num_tokens, pick_device(self.device))

    def fits_memory(self) -> bool:
        """Whether weights and a row would fit what is free of the device's memory."""
        return self.estimate_memory(ROW_TOKENS).fits

    def takes_memory_of(self, other: LoadedModel) -> bool:
        """Whether the weights are in memory where those of another model will be."""
        model, device = self._model, pick_device(other.device)
        return model is not None and (model.device.type, model.device.index or 0) == (device.type, device.index or 0)

    def close(self) -> None:
        """Free the weights; the next request loads them again."""
        from sqlinfer.engine.model.device import release_memory

        with self._lock, self.step_lock:
            if self._model is not None:
                device, self._model, self._encoder = self._model.device, None, None
                if self._paged is not None:
                    self._paged, self._padding_reason = None, None
                release_memory(device)

    def leave(self) -> bool:
        """Free the weights, unless a part of the model is being loaded. Whether they are freed."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self.close()
        finally:
            self._lock.release()
        return True

    def free_unused_cache(self) -> None:
        """Free a paged cache that no batch uses; the next batch makes it anew."""
        if not self._lock.acquire(blocking=False):
            return  # it is about to be used
        try:
            if self._paged is not None and not self._paged.is_used:
                self._paged, self._padding_reason = None, None
        finally:
            self._lock.release()
