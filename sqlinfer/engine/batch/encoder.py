"""Batches of a model that reads and does not write: embeddings, label probabilities, scores of pairs.

A text encoder packs or pads its inputs, an image encoder stacks them; what becomes of a batch's rows, and of a batch
that fails, is the same. Knows no tokenizer and no image processor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Series
from typing import Any, TypeAlias

import torch

from sqlinfer.engine.attention.self_test import tolerance
from sqlinfer.engine.input.encoder_inputs import EncoderInput, EncoderLimits
from sqlinfer.engine.input.image_inputs import ImageInput
from sqlinfer.engine.model.device import is_out_of_memory, release_memory
from sqlinfer.engine.sequence import failed
from sqlinfer.errors import describe, first_line
from sqlinfer.types import AnyRequest, Choose, Completion, Embedding, Output, Probabilities, yes_or_no

AnyInput: TypeAlias = EncoderInput | ImageInput


class Encoder(ABC):
    """The weights of one model and how its output becomes a completion."""

    is_packed = False
    """Whether batches have no padding."""

    def __init__(self, model: Any, limits: EncoderLimits) -> None:
        self.solo_reason = ""
        """Why inputs run one by one, or only beside others of their size; "" if they share batches."""
        self._model = model
        self._limits = limits
        self._is_multilabel = getattr(model.config, "problem_type", None) == "multi_label_classification"

    @abstractmethod
    def batches(self, inputs: Series[Any]) -> deque[list[Any]]:
        """Inputs in batches."""

    @abstractmethod
    def check(self) -> None:
        """Raise what the model raises for an input that has nothing wrong."""

    @abstractmethod
    def bound(self, max_tokens: int) -> None:
        """Bound batches by a number of tokens."""

    @abstractmethod
    def _forward(self, batch: list[Any]) -> torch.Tensor:
        """The rows (batch, width) of a batch, on the CPU."""

    @abstractmethod
    def _shrink(self, batch: list[Any]) -> None:
        """Make batches smaller for good than one that did not fit the memory."""

    def run(self, batches: deque[list[Any]], check_runs: Callable[[], None]) -> list[Completion]:
        """Take one batch and answer it; one that does not fit the memory is put back in halves, one that fails in
        single inputs. check_runs: raises an error unless the model still answers others."""
        batch = batches.popleft()
        rows = self._try(batch)
        if isinstance(rows, torch.Tensor):
            return [self._completion(each, row) for each, row in zip(batch, rows, strict=True)]
        is_memory = is_out_of_memory(rows)
        if is_memory:
            release_memory(self._model.device)
        if len(batch) == 1:
            if not is_memory:
                check_runs()
            problem = f"out of memory: one {batch[0].description} alone does not fit; shorten it"
            problem = problem if is_memory else f"the model fails with this row: {describe(rows)}"
            return [failed(batch[0].request, problem, batch[0].num_tokens)]
        if not is_memory:
            batches.extendleft([each] for each in reversed(batch))
            return []
        self._shrink(batch)
        again = self.batches([*batch, *(each for waiting in batches for each in waiting)])
        batches.clear()
        batches.extend(again)
        return []

    def _try(self, batch: list[AnyInput]) -> torch.Tensor | Exception:
        """The rows (batch, width) of a batch on the CPU, or why there are none; what it computed is freed."""
        try:
            return self._forward(batch)
        except Exception as error:  # noqa: BLE001 - a model may raise anything for an input
            return error.with_traceback(None)

    def _find_fault(self, group: Series[AnyInput], alone: torch.Tensor) -> str:
        """What is wrong with the rows of a group together, given those that each has alone; "" for nothing."""
        try:
            together = self._forward(list(group))
        except Exception as error:  # noqa: BLE001 - what a model lacks may raise anything
            return f"several at once raise {type(error).__name__} ({first_line(error)})"
        is_same = torch.allclose(together, alone, rtol=0, atol=tolerance(self._model) * float(alone.abs().max()))
        return "" if is_same else "several at once give other results than one alone"

    def _completion(self, each: AnyInput, row: torch.Tensor) -> Completion:
        request = each.request
        if not bool(row.isfinite().all()):
            problem = "the model's output for this row is not a number (NaN or infinite); float32 may help"
            return failed(request, problem, each.num_tokens)
        if self._limits.kind == "embed":
            output: Output = Embedding(row.numpy().astype("f4").tobytes())
        else:
            output = self._probabilities(request, row)
        return Completion(request, output, prompt_tokens=each.num_tokens, truncated=each.truncated)

    def _probabilities(self, request: AnyRequest, logits: torch.Tensor) -> Probabilities:
        """The probability of each choice, or else of each label, to six digits.

        Of a classifier whose labels exclude each other, those of the choices sum to one, as if there were no others;
        a label that is asked about alone has its probability among all labels.
        """
        labels = self._limits.labels
        names = request.choices if isinstance(request, Choose) else labels
        if self._limits.kind == "rerank":
            score = logits.sigmoid()
            probabilities = torch.cat([score, 1 - score])
        elif all(name in labels for name in names):
            chosen = logits[[labels.index(name) for name in names]]
            probabilities = chosen.sigmoid() if self._is_multilabel else chosen.softmax(dim=0)
        else:
            of_labels = logits.sigmoid() if self._is_multilabel else logits.softmax(dim=0)
            pairs = torch.stack([of_labels, 1 - of_labels], dim=1).flatten().tolist()
            by_choice = dict(zip((choice for label in labels for choice in yes_or_no(label)), pairs, strict=True))
            probabilities = torch.tensor([by_choice[name] for name in names])
        rounded = (float(f"{probability:.6g}") for probability in probabilities.tolist())
        return Probabilities(zip(names, rounded, strict=True))


class EncoderLoop:
    """Runs inputs through an encoder, one batch a step."""

    utilization = 0.0

    def __init__(self, encoder: Encoder, check_runs: Callable[[], None]) -> None:
        self._encoder = encoder
        self._check_runs = check_runs
        self._batches: deque[list[AnyInput]] = deque()

    @property
    def has_work(self) -> bool:
        """Whether an input waits."""
        return bool(self._batches)

    @property
    def wants_requests(self) -> bool:
        """Whether no input waits."""
        return not self._batches

    def add(self, inputs: Series[AnyInput]) -> None:
        """Queue inputs."""
        self._batches.extend(self._encoder.batches(inputs))

    def step(self) -> list[Completion]:
        """Run one batch, without the texts that nobody waits for any more. Returns its completions."""
        texts = [(text, text.request.is_cancelled()) for text in self._batches.popleft()]
        cancelled = [Completion(text.request, finish_reason="cancelled") for text, is_gone in texts if is_gone]
        if len(cancelled) == len(texts):
            return cancelled
        self._batches.appendleft([text for text, is_gone in texts if not is_gone])
        return cancelled + self._encoder.run(self._batches, self._check_runs)
