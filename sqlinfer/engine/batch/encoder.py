"""Batches of a model that reads and does not write: embeddings, label probabilities, scores of pairs.

Texts are packed where the model allows it; else those of about equal length share a batch, so that little of it is
padding. Knows no tokenizer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Series
from typing import Any

import torch

from sqlinfer.engine.attention.packed_encoder import can_pack, forward_packed
from sqlinfer.engine.attention.self_test import tolerance
from sqlinfer.engine.input.encoder_inputs import EncoderInput, EncoderLimits
from sqlinfer.engine.model.device import is_out_of_memory, release_memory
from sqlinfer.engine.model.pooling import PoolingHead, load_layers, pool
from sqlinfer.engine.model.probe import ModelTraits, sample_ids
from sqlinfer.engine.sequence import failed
from sqlinfer.errors import describe, first_line
from sqlinfer.types import AnyRequest, Choose, Completion, Embed, Embedding, Output, Probabilities, yes_or_no

CPU_TOKENS, CPU_PASS = 1024, 64  # a batch's states stay in the cache of a core
GPU_TOKENS, GPU_PASS = 32768, 4096


class Encoder:
    """The weights of one model and how its output becomes a completion."""

    def __init__(self, model: Any, limits: EncoderLimits, head: PoolingHead | None, traits: ModelTraits) -> None:
        is_cpu = model.device.type == "cpu"
        self.max_tokens = CPU_TOKENS if is_cpu else GPU_TOKENS
        """Tokens of a batch, padding counted; halved for good when memory runs out."""
        self.pass_tokens = CPU_PASS if is_cpu else GPU_PASS
        """The fixed cost of a pass, in tokens: more padding than that costs more than another batch."""
        self._model = model
        self._limits = limits
        self._modes = head.pooling if head else ()
        self._layers = load_layers(head, model.device) if head else []
        self._has_types = limits.kind == "rerank" and getattr(model.config, "type_vocab_size", 0) > 1
        self._first_position = traits.encoder.first if traits.encoder else 0
        self._is_multilabel = getattr(model.config, "problem_type", None) == "multi_label_classification"
        may_pack = is_cpu and limits.kind == "embed" and not traits.changes_itself
        self.is_packed = may_pack and can_pack(model, self._first_position)
        """Whether batches have no padding."""
        self.solo_reason = ""
        """Why texts run one by one, or only beside others of their length; "" if they share batches."""
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
            expected = torch.stack([alone[texts.index(text)] for text in group])
            try:
                together = self._forward(group)
            except Exception as error:  # noqa: BLE001 - what a model lacks may raise anything
                self.solo_reason = f"several at once raise {type(error).__name__} ({first_line(error)})"
                continue
            if torch.allclose(together, expected, rtol=0, atol=tolerance(self._model) * float(expected.abs().max())):
                return
            self.solo_reason = "several at once give other results than one alone"
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

    def run(self, batches: deque[list[EncoderInput]], check_runs: Callable[[], None]) -> list[Completion]:
        """Take one batch and answer it; one that does not fit the memory is put back in halves, one that fails in
        single texts. check_runs: raises an error unless the model still answers other texts."""
        batch = batches.popleft()
        rows = self._try(batch)
        if isinstance(rows, torch.Tensor):
            return [self._completion(text, row) for text, row in zip(batch, rows, strict=True)]
        is_memory = is_out_of_memory(rows)
        if is_memory:
            release_memory(self._model.device)
        if len(batch) == 1:
            if not is_memory:
                check_runs()
            problem = f"out of memory: one text of {len(batch[0].ids)} tokens alone does not fit; shorten it"
            problem = problem if is_memory else f"the model fails with this text: {describe(rows)}"
            return [failed(batch[0].request, problem, len(batch[0].ids))]
        if not is_memory:
            batches.extendleft([text] for text in reversed(batch))
            return []
        tokens = sum(len(text.ids) for text in batch) if self.is_packed else len(batch) * len(batch[0].ids)
        self.max_tokens = max(1, tokens // 2)
        again = self.batches([*batch, *(text for waiting in batches for text in waiting)])
        batches.clear()
        batches.extend(again)
        return []

    def _try(self, batch: list[EncoderInput]) -> torch.Tensor | Exception:
        """The rows (batch, width) of a batch on the CPU, or why there are none; what it computed is freed."""
        try:
            return self._forward(batch)
        except Exception as error:  # noqa: BLE001 - a model may raise anything for a text
            return error.with_traceback(None)

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

    def _completion(self, text: EncoderInput, row: torch.Tensor) -> Completion:
        request = text.request
        if not bool(row.isfinite().all()):
            problem = "the model's output for this row is not a number (NaN or infinite); float32 may help"
            return failed(request, problem, len(text.ids))
        if self._limits.kind == "embed":
            output: Output = Embedding(row.numpy().astype("f4").tobytes())
        else:
            output = self._probabilities(request, row)
        return Completion(request, output, prompt_tokens=len(text.ids), truncated=text.truncated)

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
    """Runs texts through an encoder, one batch a step."""

    utilization = 0.0

    def __init__(self, encoder: Encoder, check_runs: Callable[[], None]) -> None:
        self._encoder = encoder
        self._check_runs = check_runs
        self._batches: deque[list[EncoderInput]] = deque()

    @property
    def has_work(self) -> bool:
        """Whether a text waits."""
        return bool(self._batches)

    @property
    def wants_requests(self) -> bool:
        """Whether no text waits."""
        return not self._batches

    def add(self, texts: Series[EncoderInput]) -> None:
        """Queue texts."""
        self._batches.extend(self._encoder.batches(texts))

    def step(self) -> list[Completion]:
        """Run one batch. Returns its completions."""
        return self._encoder.run(self._batches, self._check_runs)
