"""What the benchmark of the engine asks: models of about 60M parameters with random weights, prompts, and where answers
end."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from sqlinfer.engine import open_engine
from sqlinfer.engine.segments import split
from sqlinfer.engine.sequence import Sequence as Row
from sqlinfer.engine.shapes import TEXT, Shape, Size, build
from sqlinfer.types import Completion, ModelVersion, Parameters, Request

SIZES: dict[Shape, Size] = {
    "llama": Size(hidden=640, num_layers=12, num_heads=10, num_key_value_heads=5, vocabulary=8192, positions=1024),
    "t5": Size(hidden=512, num_layers=6, num_heads=8, vocabulary=8192, positions=1024, spread=2.0),
    "bart": Size(hidden=512, num_layers=6, num_heads=8, vocabulary=8192, positions=1024, spread=2.0),
}
MOST_TOKENS, MOST_BEAM_TOKENS = 64, 32
END_SPREAD = 2.3  # of an end token's weights over those of others, so that about one token in twenty is one


@dataclass(frozen=True, slots=True)
class Work:
    """Requests, and after how many tokens the answer of each ends; neither the engine nor a peer knows that before.

    ends: None where the model itself ends its answers.
    """

    requests: list[Request]
    ends: list[int] | None


class _Ending(Row):
    """A row whose answer ends after a number of tokens, as if the model had written its end there."""

    end: int

    def append(self, token: int) -> None:
        super().append(token)
        if len(self.output) >= self.end:
            self.finish_reason = "stop"


def distinct(num_rows: int, *, longest: int = MOST_TOKENS) -> Work:
    """Prompts of 48 to 220 tokens that share nothing; answers of 2 to longest tokens."""
    source = random.Random(7)
    return _work([_words(source, source.randint(40, 212)) for _ in range(num_rows)], "", source, (2, longest))


def flat(num_rows: int) -> Work:
    """The same prompts; all answers have 16 tokens."""
    return replace(distinct(num_rows), ends=[16] * num_rows)


def beams(num_rows: int) -> Work:
    """The same prompts, answered with 4 beams of at most 32 tokens."""
    parameters = Parameters(max_tokens=MOST_BEAM_TOKENS, num_beams=4)
    return Work([replace(request, parameters=parameters) for request in distinct(num_rows).requests], None)


def template(num_rows: int) -> Work:
    """Prompts that share 128 tokens and have 16 to 96 of their own."""
    source = random.Random(7)
    shared = _words(random.Random(3), 120)
    return _work([_words(source, source.randint(12, 92)) for _ in range(num_rows)], shared, source, (2, MOST_TOKENS))


def _work(texts: list[str], instruction: str, source: random.Random, lengths: tuple[int, int]) -> Work:
    parameters = Parameters(max_tokens=MOST_TOKENS, num_beams=1)
    requests = [
        Request(text, instruction, parameters=parameters, request_id=str(i).encode()) for i, text in enumerate(texts)
    ]
    return Work(requests, [source.randint(*lengths) for _ in texts])


def _words(source: random.Random, count: int) -> str:
    return " ".join(source.choices(" ".join(TEXT).split(), k=count))


def _build(shape: Shape, folder: Path, *, ends_itself: bool) -> None:
    """A model that generates plainly: no penalties and no beams of its own."""
    build(shape, folder, size=SIZES[shape])
    kind = "AutoModelForSeq2SeqLM" if shape in ("t5", "bart") else "AutoModelForCausalLM"
    model = getattr(transformers, kind).from_pretrained(folder)
    start = model.generation_config.decoder_start_token_id
    model.generation_config = transformers.GenerationConfig(
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=start
    )
    if ends_itself:
        with torch.no_grad():
            model.get_output_embeddings().weight[2] *= END_SPREAD
    model.save_pretrained(folder)


class Bench:
    """A model as the engine has it, and the rows of works as the engine reads them."""

    def __init__(self, shape: Shape, folder: Path, dtype: str, *, ends_itself: bool = False) -> None:
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.folder = folder / f"{shape}{'-ending' if ends_itself else ''}"
        if not self.folder.exists():
            _build(shape, self.folder, ends_itself=ends_itself)
        self.engine: Any = open_engine(
            ModelVersion(shape, 1, str(self.folder), self.folder, shape, dtype=dtype), device="cpu"
        )
        self._prepare = self.engine.prompts.prepare
        self.engine.prompts.prepare = self._ending
        self._work: Work | None = None
        self.outputs: dict[int, list[int]] = {}

    def rows(self, work: Work) -> list[Row]:
        """The rows of a work, with the token ids of their prompts."""
        rows: list[Row] = self._prepare(work.requests)
        return rows

    def run(self, work: Work) -> list[list[int]]:
        """What the engine answers, in token ids, in the order of the requests."""
        self._work, seen = work, []
        remember = self.engine._complete
        self.engine._complete = lambda row: (seen.append(row), remember(row))[1]
        try:
            failed = [c.error for c in self.engine.generate(work.requests) if c.error]
        finally:
            self.engine._complete = remember
        if failed:
            raise SystemExit(f"{len(failed)} requests failed: {failed[0]}")
        outputs = {int(row.request.request_id): row.output for row in seen}
        return [outputs[i] for i in range(len(work.requests))]

    def _ending(self, requests: Sequence[Request]) -> list[Row | Completion]:
        rows = self._prepare(requests)
        if self._work is not None and self._work.ends is not None:
            for row in rows:
                row.__class__, row.end = _Ending, self._work.ends[int(row.request.request_id)]
                row.settings = replace(row.settings, eos=frozenset())
        return list(rows)

    def flops(self, work: Work) -> float:
        """Floating-point operations that the answers need: each distinct prompt token and each answer token once.

        Linear layers of a decoder-only model, its head for the tokens of answers alone, and its attention.
        """
        config = self.engine.config
        rows = self.rows(work)
        every, _ = split([row.prompt for row in rows], [], None)
        read = sum(len(segment.tokens) for segment in every)
        written = sum(work.ends)
        head_dim = config.hidden_size // config.num_attention_heads
        keys = config.num_key_value_heads * head_dim
        layer = (
            2 * config.hidden_size**2
            + 2 * config.hidden_size * keys
            + 3 * config.hidden_size * (config.intermediate_size)
        )
        seen = sum(len(s.tokens) * (s.depth + len(s.tokens) / 2) for s in every)
        seen += sum(end * (len(row.prompt) + end / 2) for row, end in zip(rows, work.ends, strict=True))
        linear = 2 * layer * (read + written) + 4 * config.hidden_size * seen
        return config.num_hidden_layers * linear + 2 * config.vocab_size * config.hidden_size * written
