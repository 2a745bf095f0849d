"""Requests in, completions out, for one version of a transformers model.

Pulls requests in windows, prepares them, and drives the loop of forward passes until they have all finished. Loads
neither torch nor weights before the first request needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Series
from contextlib import ExitStack
from functools import cached_property
from time import perf_counter
from typing import Any, Protocol
from weakref import WeakSet

from sqlinfer.engine.encoder_runner import EncoderRunner
from sqlinfer.engine.generator import Generator
from sqlinfer.engine.interruptible import run_interruptibly
from sqlinfer.engine.loaded_model import LoadedModel
from sqlinfer.engine.request_windows import split_windows
from sqlinfer.engine.residency import load, loaded_names, using
from sqlinfer.engine.scheduler import Limits
from sqlinfer.engine.sequence import failed
from sqlinfer.engine.step_thread import BackgroundStepLoop, StepLoop, Steppable
from sqlinfer.errors import Interrupted
from sqlinfer.types import AnyRequest, Cancel, Completion, ModelVersion, WarmModel

POLL_S = 0.05  # how long a poll waits before cancel is looked at again


class Runner(Protocol):
    """What a kind of model does with requests: Generator or EncoderRunner."""

    def prepare(self, requests: Series[AnyRequest]) -> Series[Any]:
        """What the loop takes for each request, or the completion of one that needs no model."""
        ...

    def open_loop(self, limits: Limits | None) -> Steppable:
        """A loop of forward passes, with an empty batch. Loads the weights."""
        ...

    def complete(self, finished: Any) -> Completion:
        """The completion of what the loop has finished."""
        ...

    def count_prompt_tokens(self, requests: Series[AnyRequest]) -> list[int]: ...

    def read_prompt(self, request: AnyRequest) -> str: ...

    def describe(self) -> dict[str, Any]: ...

    @property
    def layout(self) -> str:
        """How rows share a batch. Loads the weights."""
        ...


class TransformersEngine:
    """Answers requests with one model version, by transformers and torch.

    Threads may call generate at once: each call has a batch of its own, and the calls take turns step by step.
    """

    def __init__(self, version: ModelVersion, dtype: str | None = None, device: str | None = None) -> None:
        self.version = version
        self.limits: Limits | None = None
        """Bounds of a batch; None for what the device can hold."""
        self.batch_fill = 0.0
        """How much of the batch was in use at the last step, 0..1."""
        self.loaded = LoadedModel(version, dtype, device)
        """The parts of the model, loaded as they are needed."""
        self._steppables: WeakSet[Steppable] = WeakSet()

    @property
    def activity(self) -> str:
        """What goes on before the next answer: the model loads, or reads prompts; "" while it writes."""
        if not self.loaded.is_loaded:
            return f"loading {self.version}"
        num_tokens = sum(getattr(steppable, "num_prefill_tokens", 0) for steppable in self._steppables)
        return f"reading {num_tokens:,} prompt tokens" if num_tokens else ""

    @cached_property
    def runner(self) -> Runner:
        """The role of the model, which its configuration tells."""
        return Generator(self.loaded) if self.loaded.model_kind == "generate" else EncoderRunner(self.loaded)

    def generate(self, requests: Iterable[AnyRequest | None], cancel: Cancel | None = None) -> Iterator[Completion]:
        """Yield one completion a request, in order of finishing; a bad request is an error of its own.

        requests are pulled in windows, so the iterable may be endless. A None among them, while some are unfinished,
        says that none waits now: a step is run, and then the iterable is asked again. cancel: once set, the iterator
        ends within a step, unfinished requests unanswered. Raises ModelUnusable.
        """
        runner, windows = self.runner, split_windows(requests)
        loop: StepLoop | None = None
        none_waits = False
        with ExitStack() as stack:
            stack.enter_context(using(self.loaded))
            try:
                while not (cancel is not None and cancel.is_set()):
                    if loop is not None and (none_waits or not loop.wants_requests):
                        none_waits = False
                        finished = loop.poll(POLL_S)
                        if finished is None:
                            return
                        self.batch_fill = loop.utilization
                        yield from map(runner.complete, finished)
                    elif (window := next(windows, None)) is not None:
                        if loop is not None and not window:
                            loop.add([])  # the next step may run
                            none_waits = True
                            continue
                        prepared = self._prepare(window, cancel)
                        if runnable := [p for p in prepared if not isinstance(p, Completion)]:
                            loop = loop or stack.enter_context(self._open_loop())
                            loop.add(runnable)
                        yield from (p for p in prepared if isinstance(p, Completion))
                    elif loop is not None:
                        loop.close_input()
                    else:
                        return
            except Exception:
                yield from map(runner.complete, loop.stop() if loop else [])
                raise
            yield from map(runner.complete, loop.stop() if loop else [])

    def _prepare(self, window: Series[AnyRequest], cancel: Cancel | None) -> Series[Any]:
        """What the runner makes of requests, by the limits that the weights show; nothing if cancel is set meanwhile.

        A timeout that passes here fails them for good: a chat template that does not end will not end later.
        """
        prepared = run_interruptibly(lambda: self.runner.prepare(window), cancel, POLL_S)
        if prepared is None:
            problem = f"no prompt within the timeout: the chat template of {self.version} may not end"
            return [failed(request, problem) for request in window] if getattr(cancel, "is_over", False) else []
        if all(isinstance(p, Completion) for p in prepared):
            return prepared
        if self.loaded.load_and_fit(cancel):
            prepared = run_interruptibly(lambda: self.runner.prepare(window), cancel, POLL_S)
        if cancel is not None and cancel.is_set() and not self.loaded.is_loaded:
            return []  # there was no room
        return prepared or []

    def count_prompt_tokens(self, requests: Series[AnyRequest]) -> list[int]:
        """Tokens of each prompt as the model would read it; 0 for a request that cannot be answered."""
        return self.runner.count_prompt_tokens(requests)

    def read_prompt(self, request: AnyRequest) -> str:
        """The prompt of a request as the model reads it, before it is cut to fit."""
        return self.runner.read_prompt(request)

    def describe(self) -> dict[str, Any]:
        """What a request gets that leaves all parameters open; of an encoder, what it reads and gives."""
        return self.runner.describe()

    def warm(self, cancel: Cancel | None = None) -> WarmModel:
        """Load the weights and run the self-tests, so that a request is answered at once. Raises ModelUnusable."""
        before, start_s = loaded_names(), perf_counter()
        with using(self.loaded):
            if not load(self.loaded, cancel):
                raise Interrupted
            self.runner.open_loop(self.limits)
            need = self.loaded.estimate_memory(0)
            return WarmModel(
                str(self.version),
                perf_counter() - start_s,
                need.weights_bytes,
                (need.device, need.dtype, self.runner.layout),
                tuple(sorted(before - loaded_names())),
            )

    def close(self) -> None:
        """Free the weights; the next request loads them again."""
        self.loaded.close()

    def _open_loop(self) -> StepLoop:
        """The runner's loop, on a thread of its own unless the device is the CPU, whose cores the caller shares."""
        steppable = self.runner.open_loop(self.limits)
        self._steppables.add(steppable)
        on_cpu = self.loaded.model.device.type == "cpu"
        return (StepLoop if on_cpu else BackgroundStepLoop)(steppable, self.loaded.step_lock)
