"""Requests in, completions out, for one model version. Loads the weights when the first request needs them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Series
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlinfer.engine.batch.batch import Batch
from sqlinfer.engine.input.encoder_inputs import EncoderInputs
from sqlinfer.engine.input.prompts import PromptBuilder
from sqlinfer.engine.model.model_kind import find_model_kind
from sqlinfer.engine.request_windows import split_windows
from sqlinfer.engine.scheduler import Limits, fit_limits
from sqlinfer.engine.step_thread import BackgroundStepLoop, StepLoop
from sqlinfer.types import AnyRequest, Completion, ModelKind, ModelVersion, Task

if TYPE_CHECKING:
    from sqlinfer.engine.attention.paged_runner import PagedModel
    from sqlinfer.engine.batch.encoder import Encoder
    from sqlinfer.engine.generation_loop import GenerationLoop

logger = logging.getLogger(__name__)
POLL_S = 0.05  # between two looks whether to go on, while no row ends
_engines: WeakSet[TorchEngine] = WeakSet()


class TorchEngine:
    """Runs one model version with torch.

    Threads may call generate at once: each call has a batch of its own, and the calls take turns step by step.
    """

    def __init__(self, version: ModelVersion, dtype: str | None = None, device: str | None = None) -> None:
        self.version = version
        self.limits: Limits | None = None  # set to bound the batch; None: what the device can hold
        self.batch_fill = 0.0  # lines in use of those that the batch may have, 0..1, at the last step
        self._dtype_name = dtype or version.dtype
        self._device_name = device
        self._load_lock = threading.RLock()
        self._turns = threading.Lock()
        self._prompts: PromptBuilder | None = None
        self._inputs: EncoderInputs | None = None
        self._encoder: Encoder | None = None
        self._config: Any = None
        self._model: Any = None
        self._paged: PagedModel | None = None
        self._obstacle: str | None = None
        _engines.add(self)

    def generate(self, requests: Iterable[AnyRequest], cancel: threading.Event | None = None) -> Iterator[Completion]:
        """Yield one completion a request, in order of finishing; a bad request is an error of its own.

        requests are pulled in windows, so the iterable may be endless. cancel: once set, the iterator ends
        within a step, unfinished requests unanswered. Raises ModelUnusable.
        """
        writes = self.kind == "generate"
        prepare = self.prompts.prepare if writes else self.inputs.prepare

        def completions(ended: Series[Any]) -> Iterator[Completion]:
            return map(self.prompts.complete, ended) if writes else iter(ended)

        windows = split_windows(requests)
        stepping: StepLoop | None = None
        with ExitStack() as closing:
            try:
                while not (cancel is not None and cancel.is_set()):
                    if stepping is None or stepping.wants_requests:
                        window = next(windows, None)
                        if window is not None:
                            outcomes = prepare(window)
                            if asked := [o for o in outcomes if not isinstance(o, Completion)]:
                                stepping = stepping or closing.enter_context(self._stepping())
                                stepping.add(asked)
                            yield from (o for o in outcomes if isinstance(o, Completion))
                        elif stepping is None:
                            return
                        else:
                            stepping.close_input()
                        continue
                    ended = stepping.poll(POLL_S)
                    if ended is None:
                        return
                    self.batch_fill = stepping.utilization
                    yield from completions(ended)
            except Exception:
                yield from completions(stepping.stop() if stepping else [])
                raise
            yield from completions(stepping.stop() if stepping else [])

    def defaults(self, task: Task = "generate") -> dict[str, Any]:
        """What a request of this task gets when it leaves every parameter open, by name."""
        settings = self.prompts.defaults.resolve(self.version.parameters, task)
        shown = {
            "max_tokens": settings.max_tokens,
            "min_tokens": settings.min_tokens,
            "temperature": settings.temperature,
            "num_beams": settings.num_beams,
        }
        if settings.temperature > 0:
            shown |= {"top_p": settings.top_p, "top_k": settings.top_k, "seed": settings.seed}
        return shown | dict(settings.model)

    def reads(self) -> dict[str, Any]:
        """How much a model that does not write reads, and its labels or how it embeds, by name."""
        from sqlinfer.engine.model.pooling import load_head

        reader, head = self.inputs.reader, load_head(self.version, self.config)
        shown: dict[str, Any] = {"max_tokens": reader.max_tokens}
        if reader.labels:
            shown["labels"] = list(reader.labels)
        if head:
            shown |= {"dimensions": self.embedding_width, "pooling": list(head.pooling)}
            shown["normalized"] = bool(head.layers) and head.layers[-1] is None
        return shown

    @property
    def embedding_width(self) -> int | None:
        """Numbers in an embedding; None if the model does not embed."""
        from sqlinfer.engine.model.pooling import load_head

        head = load_head(self.version, self.config) if self.kind == "embed" else None
        return head.width(self.config.hidden_size) if head else None

    def count_prompt_tokens(self, requests: Series[AnyRequest]) -> list[int]:
        """Tokens of each prompt as the model would read it; 0 for a request that cannot be asked."""
        reader: PromptBuilder | EncoderInputs = self.prompts if self.kind == "generate" else self.inputs
        return reader.count(requests)

    @property
    def kind(self) -> ModelKind:
        """What the model is for."""
        return find_model_kind(self.version, self.config)

    @property
    def config(self) -> Any:
        """The transformers configuration of the model."""
        from sqlinfer.engine.model.weights import load_config

        with self._load_lock:
            self._config = self._config or load_config(self.version)
            return self._config

    @property
    def prompts(self) -> PromptBuilder:
        """The tokenizer's side of the model, without weights."""
        from sqlinfer.engine.input.load import load_prompts

        with self._load_lock:
            self._prompts = self._prompts or load_prompts(self.version, self.config)
            return self._prompts

    @property
    def inputs(self) -> EncoderInputs:
        """The tokenizer's side of a model that reads and does not write, without weights."""
        from sqlinfer.engine.input.load import load_inputs

        with self._load_lock:
            self._inputs = self._inputs or load_inputs(self.version, self.config)
            return self._inputs

    @property
    def encoder(self) -> Encoder:
        """The weights of such a model, ready to run."""
        from sqlinfer.engine.batch.encoder import Encoder
        from sqlinfer.engine.model.pooling import load_head

        with self._load_lock:
            if self._encoder is None:
                head = load_head(self.version, self.config)
                self._encoder = Encoder(self.model, self.inputs.reader, head)
            if self.limits is not None:
                self._encoder.max_tokens = self.limits.max_prefill_tokens
            return self._encoder

    @property
    def model(self) -> Any:
        """The transformers model, loaded once."""
        from sqlinfer.engine.model.cpu_linear import pack
        from sqlinfer.engine.model.device import pick_device
        from sqlinfer.engine.model.precision import pick_precision
        from sqlinfer.engine.model.weights import load_model

        with self._load_lock:
            if self._model is None:
                device = pick_device(self._device_name)
                for other in list(_engines):
                    other._release_cache()  # its memory may be needed for the weights
                precision = pick_precision(self._dtype_name, device, self.config)
                precision.tell(self.version)
                self._model = load_model(self.version, self.config, device, precision.dtype)
                pack(self._model, precision.body, precision.head)
            return self._model

    @property
    def obstacle(self) -> str:
        """Why a decoder-only model runs in padded batches, which are slower; "" if it does not."""
        from sqlinfer.engine.batch.packed_decoder import packing_unsupported_reason
        from sqlinfer.engine.batch.paged_self_test import open_paged

        with self._load_lock:
            if self._obstacle is None:
                if self.model.device.type == "cuda":
                    self._paged, self._obstacle = open_paged(self.model)
                else:
                    self._obstacle = packing_unsupported_reason(self.model)
                if self._obstacle:
                    logger.warning("%s: rows are padded, which is slower: %s", self.version, self._obstacle)
            return self._obstacle

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._model is not None

    def close(self) -> None:
        """Free the weights; the next request loads them again."""
        from sqlinfer.engine.model.device import release_memory

        with self._load_lock, self._turns:
            if self._model is not None:
                device, self._model, self._encoder = self._model.device, None, None
                if self._paged is not None:
                    self._paged, self._obstacle = None, None
                release_memory(device)

    def _release_cache(self) -> None:
        """Free a cache that no batch uses; the next one makes it anew."""
        if not self._load_lock.acquire(blocking=False):
            return  # it is about to be used
        try:
            if self._paged is not None and not self._paged.is_used:
                self._paged, self._obstacle = None, None
        finally:
            self._load_lock.release()

    def _stepping(self) -> StepLoop:
        """Steps of work of the right kind; a device of its own works beside the caller, whose cores a CPU needs."""
        from sqlinfer.engine.batch.encoder import EncoderLoop

        work = self._run() if self.kind == "generate" else EncoderLoop(self.encoder)
        return (StepLoop if self.model.device.type == "cpu" else BackgroundStepLoop)(work, self._turns)

    def _run(self) -> GenerationLoop:
        """With an empty batch, as large as the device can hold."""
        from sqlinfer.engine.batch.paged_decoder import PagedDecoderBatch
        from sqlinfer.engine.generation_loop import GenerationLoop
        from sqlinfer.engine.model.device import cache_bytes_per_token, free_memory

        model = self.model
        with self._load_lock:
            batch = self._batch()
        bounds = self.limits or fit_limits(
            free_memory(model.device),
            cache_bytes_per_token(model.config, model.dtype),
            on_gpu=model.device.type != "cpu",
        )
        if isinstance(batch, PagedDecoderBatch):
            most = batch.max_tokens if self.limits is None else min(batch.max_tokens, bounds.max_tokens)
            bounds = replace(bounds, max_tokens=most)
        bounds = replace(bounds, can_refill=bounds.can_refill and batch.can_merge, is_packed=batch.is_packed)
        return GenerationLoop(batch, bounds, self.prompts.text)

    def _batch(self) -> Batch:
        """An empty batch: packed where model and device allow it, padded else."""
        from sqlinfer.engine.batch.packed_decoder import PackedDecoderBatch
        from sqlinfer.engine.batch.padded_decoder import PaddedDecoderBatch
        from sqlinfer.engine.batch.padded_seq2seq import PaddedSeq2SeqBatch
        from sqlinfer.engine.batch.paged_decoder import PagedDecoderBatch

        if self.config.is_encoder_decoder:
            return PaddedSeq2SeqBatch(self.model)
        if self.model.device.type not in ("cpu", "cuda") or self.obstacle:
            return PaddedDecoderBatch(self.model)
        return PagedDecoderBatch(self._paged) if self._paged is not None else PackedDecoderBatch(self.model)
