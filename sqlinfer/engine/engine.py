"""Requests in, completions out, for one model version. Loads the weights when the first request needs them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Series
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlinfer.engine.inputs import Input, Inputs
from sqlinfer.engine.kind import Kind, find_kind
from sqlinfer.engine.prompt import Prompts
from sqlinfer.engine.run import Batch, Run
from sqlinfer.engine.scheduler import Limits
from sqlinfer.engine.sequence import Sequence
from sqlinfer.types import Completion, ModelVersion, Request, Task

if TYPE_CHECKING:
    from sqlinfer.engine.encoder import Encoder
    from sqlinfer.engine.paged_model import PagedModel

logger = logging.getLogger(__name__)
WINDOW_REQUESTS = 1024
WINDOW_CHARACTERS = 8 << 20
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
        self._step_lock = threading.Lock()
        self._prompts: Prompts | None = None
        self._inputs: Inputs | None = None
        self._encoder: Encoder | None = None
        self._config: Any = None
        self._model: Any = None
        self._paged: PagedModel | None = None
        self._obstacle: str | None = None
        _engines.add(self)

    def generate(self, requests: Iterable[Request], cancel: threading.Event | None = None) -> Iterator[Completion]:
        """Yield one completion a request, in order of finishing; a bad request is an error of its own.

        requests are pulled in windows, so the iterable may be endless. cancel: once set, the iterator ends
        within a step, unfinished requests unanswered. Raises ModelUnusable.
        """
        windows = _windows(requests)
        if self.kind != "generate":
            yield from self._encode(windows, cancel)
            return
        run: Run | None = None
        while not (cancel is not None and cancel.is_set()):
            if run is None or not run.scheduler.waiting:
                window = next(windows, [])
                outcomes = self.prompts.prepare(window)
                yield from (o for o in outcomes if isinstance(o, Completion))
                if asked := [o for o in outcomes if isinstance(o, Sequence)]:
                    run = run or self._start()
                    run.scheduler.add(asked)
                elif window:
                    continue
            if run is None or not run.scheduler.has_work:
                return
            with self._step_lock:
                finished = run.step()
                self.batch_fill = run.fill
            yield from map(self._complete, finished)

    def _encode(self, windows: Iterator[list[Request]], cancel: threading.Event | None) -> Iterator[Completion]:
        """The completions of a model that reads and does not write."""
        for window in windows:
            outcomes = self.inputs.prepare(window)
            yield from (o for o in outcomes if isinstance(o, Completion))
            if not (asked := [o for o in outcomes if isinstance(o, Input)]):
                continue
            encoder = self.encoder
            batches = encoder.batches(asked)
            while batches:
                if cancel is not None and cancel.is_set():
                    return
                with self._step_lock:
                    finished = encoder.run(batches)
                yield from finished

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
        from sqlinfer.engine.loader import load_head

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
        from sqlinfer.engine.loader import load_head

        head = load_head(self.version, self.config) if self.kind == "embed" else None
        return head.width(self.config.hidden_size) if head else None

    def count_prompt_tokens(self, requests: Series[Request]) -> list[int]:
        """Tokens of each prompt as the model would read it; 0 for a request that cannot be asked."""
        reader: Prompts | Inputs = self.prompts if self.kind == "generate" else self.inputs
        return reader.count(requests)

    @property
    def kind(self) -> Kind:
        """What the model is for."""
        return find_kind(self.version, self.config)

    @property
    def config(self) -> Any:
        """The transformers configuration of the model."""
        from sqlinfer.engine.loader import load_config

        with self._load_lock:
            self._config = self._config or load_config(self.version)
            return self._config

    @property
    def prompts(self) -> Prompts:
        """The tokenizer's side of the model, without weights."""
        from sqlinfer.engine.loader import load_prompts

        with self._load_lock:
            self._prompts = self._prompts or load_prompts(self.version, self.config)
            return self._prompts

    @property
    def inputs(self) -> Inputs:
        """The tokenizer's side of a model that reads and does not write, without weights."""
        from sqlinfer.engine.loader import load_inputs

        with self._load_lock:
            self._inputs = self._inputs or load_inputs(self.version, self.config)
            return self._inputs

    @property
    def encoder(self) -> Encoder:
        """The weights of such a model, ready to run."""
        from sqlinfer.engine.encoder import Encoder
        from sqlinfer.engine.loader import load_head

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
        from sqlinfer.engine.device import pick_device, pick_dtype
        from sqlinfer.engine.kv import has_plain_cache
        from sqlinfer.engine.linear import pack
        from sqlinfer.engine.loader import load_model

        with self._load_lock:
            if self._model is None:
                device = pick_device(self._device_name)
                for other in list(_engines):
                    other._release_cache()  # its memory may be needed for the weights
                dtype = pick_dtype(self._dtype_name, device, self.config.model_type)
                self._model = load_model(self.version, self.config, device, dtype)
                if device.type == "cpu" and has_plain_cache(self.config):
                    pack(self._model)
            return self._model

    @property
    def obstacle(self) -> str:
        """Why a decoder-only model runs in padded batches, which are slower; "" if it does not."""
        from sqlinfer.engine.packed import find_obstacle
        from sqlinfer.engine.trial import open_paged

        with self._load_lock:
            if self._obstacle is None:
                if self.model.device.type == "cuda":
                    self._paged, self._obstacle = open_paged(self.model)
                else:
                    self._obstacle = find_obstacle(self.model)
                if self._obstacle:
                    logger.warning("%s: rows are padded, which is slower: %s", self.version, self._obstacle)
            return self._obstacle

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._model is not None

    def close(self) -> None:
        """Free the weights; the next request loads them again."""
        from sqlinfer.engine.device import release_memory

        with self._load_lock, self._step_lock:
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

    def _start(self) -> Run:
        """A run with an empty batch of the right kind."""
        from sqlinfer.engine.device import limits
        from sqlinfer.engine.paged import PagedBatch

        model = self.model
        with self._load_lock:
            batch = self._batch()
        bounds = self.limits or limits(model.device, model.config, model.dtype)
        if isinstance(batch, PagedBatch):
            most = batch.max_tokens if self.limits is None else min(batch.max_tokens, bounds.max_tokens)
            bounds = replace(bounds, max_tokens=most)
        bounds = replace(bounds, refill=bounds.refill and batch.can_merge, is_packed=batch.is_packed)
        return Run(batch, bounds, model.device, self.prompts.text)

    def _batch(self) -> Batch:
        """An empty batch: packed where model and device allow it, padded else."""
        from sqlinfer.engine.decoder import DecoderBatch
        from sqlinfer.engine.packed import PackedBatch
        from sqlinfer.engine.paged import PagedBatch
        from sqlinfer.engine.seq2seq import Seq2SeqBatch

        if self.config.is_encoder_decoder:
            return Seq2SeqBatch(self.model)
        if self.model.device.type not in ("cpu", "cuda") or self.obstacle:
            return DecoderBatch(self.model)
        return PagedBatch(self._paged) if self._paged is not None else PackedBatch(self.model)

    def _complete(self, sequence: Sequence) -> Completion:
        """The completion of a finished sequence; its text ends before the first stop text."""
        text, reason = None, sequence.finish_reason or "error"
        if sequence.error is None:
            text = sequence.answer
            if text is None:
                say = self.prompts.text if sequence.constraint is None else sequence.constraint.text
                text = say(sequence.output)
            cuts = [text.find(stop) for stop in sequence.settings.stop if stop in text]
            if cuts:
                text, reason = text[: min(cuts)], "stop"
        return Completion(
            sequence.request.request_id,
            text,
            prompt_tokens=len(sequence.prompt),
            completion_tokens=len(sequence.output),
            finish_reason=reason,
            truncated=sequence.truncated,
            error=sequence.error,
            may_pass=sequence.may_pass,
        )


def _windows(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Requests in lists that are bounded in number and in text."""
    window: list[Request] = []
    characters = 0
    for request in requests:
        window.append(request)
        characters += len(request.text) + len(request.instruction)
        if len(window) >= WINDOW_REQUESTS or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window
