"""The workloads of the engine's benchmark: models with random weights, prompts, and where answers end."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from sqlinfer.engine import open_engine
from sqlinfer.engine.cache.prefix_tree import build_prefix_tree
from sqlinfer.engine.sequence import Sequence as EngineSequence
from sqlinfer.types import Completion, ModelVersion, Parameters, Request
from tools.random_models import TEXT, Shape, Size, build, build_tokenizer

SIZES: dict[Shape, Size] = {
    "llama": Size(hidden=640, num_layers=12, num_heads=10, num_key_value_heads=5, vocabulary=8192, positions=1024),
    "t5": Size(hidden=512, num_layers=6, num_heads=8, vocabulary=8192, positions=1024, spread=2.0),
    "bart": Size(hidden=512, num_layers=6, num_heads=8, vocabulary=8192, positions=1024, spread=2.0),
}
TINY = Size(positions=4096)
PUBLISHED: dict[str, tuple[Shape, dict[str, Any]]] = {  # decoders of the size of published ones
    "qwen3-0.6b": (
        "qwen3",
        {
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 151936,
            "max_position_embeddings": 40960,
            "tie_word_embeddings": True,
        },
    ),
    "smollm2-135m": (
        "llama",
        {
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "vocab_size": 49152,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
        },
    ),
    "llama-3.2-1b": (
        "llama",
        {
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 64,
            "vocab_size": 128256,
            "max_position_embeddings": 131072,
            "tie_word_embeddings": True,
        },
    ),
}
MODELS = ("60m", "tiny", *PUBLISHED)
MOST_TOKENS, MOST_BEAM_TOKENS = 64, 32
END_SPREAD = 2.3  # of an end token's weights over those of others, so that about one token in twenty is one


@dataclass(frozen=True, slots=True)
class Work:
    """Requests, and after how many tokens the answer of each ends; neither the engine nor a peer knows that before.

    ends: None where the model itself ends its answers.
    """

    requests: list[Request]
    ends: list[int] | None


class _Ending(EngineSequence):
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


def long(num_rows: int, *, longest: int = 1024) -> Work:
    """Prompts and answers of 100 to longest tokens, about; how long an answer may become is known beforehand."""
    source = random.Random(7)
    work = _work(
        [_words(source, source.randint(90, longest * 9 // 10)) for _ in range(num_rows)], "", source, (100, longest)
    )
    requests = [
        replace(request, parameters=Parameters(max_tokens=end, num_beams=1))
        for request, end in zip(work.requests, work.ends or [], strict=True)
    ]
    return replace(work, requests=requests)


def _work(texts: list[str], instruction: str, source: random.Random, lengths: tuple[int, int]) -> Work:
    parameters = Parameters(max_tokens=MOST_TOKENS, num_beams=1)
    requests = [Request(text, instruction, parameters=parameters, key=str(i).encode()) for i, text in enumerate(texts)]
    return Work(requests, [source.randint(*lengths) for _ in texts])


def _words(source: random.Random, count: int) -> str:
    return " ".join(source.choices(" ".join(TEXT).split(), k=count))


def _build(shape: Shape, name: str, folder: Path, *, ends_itself: bool) -> None:
    """A model that generates plainly: no penalties and no beams of its own."""
    if name in PUBLISHED:
        return build_published(*PUBLISHED[name], folder)
    build(shape, folder, size=TINY if name == "tiny" else SIZES[shape])
    name_of_class = "AutoModelForSeq2SeqLM" if shape in ("t5", "bart") else "AutoModelForCausalLM"
    model = getattr(transformers, name_of_class).from_pretrained(folder)
    model.generation_config = _plain(model.generation_config.decoder_start_token_id)
    if ends_itself:
        with torch.no_grad():
            model.get_output_embeddings().weight[2] *= END_SPREAD
    return model.save_pretrained(folder)


def build_published(shape: Shape, settings: dict[str, Any], folder: Path, *, writes_text: bool = False) -> None:
    """A model of the size of a published one, its weights as they are before training, with the tokenizer of ours.

    writes_text: whether it writes no tokens but those of the tokenizer, which are fewer.
    """
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.AutoConfig.for_model(shape, **settings, **ids)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.generation_config = _plain(None)
    tokenizer = build_tokenizer(shape, Size(vocabulary=8192, positions=config.max_position_embeddings))
    if writes_text:
        with torch.no_grad():
            model.get_output_embeddings().weight[len(tokenizer) :] = 0.0  # less than the likeliest of the others
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _plain(start: int | None) -> transformers.GenerationConfig:
    return transformers.GenerationConfig(pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=start)


class Bench:
    """A model in the engine, and the sequences that the engine makes of a workload.

    options: dtype, device and model, as on the command line.
    """

    def __init__(self, shape: Shape | None, folder: Path, options: Any, *, ends_itself: bool = False) -> None:
        self.dtype: torch.dtype = (
            torch.bfloat16 if options.dtype == "int8" else getattr(torch, options.dtype)
        )  # of peers
        name = options.model
        if shape is None:
            shape = PUBLISHED[name][0] if name in PUBLISHED else "llama"
        elif name != "tiny":
            name = "60m"
        self.folder = folder / f"{shape}-{name}{'-ending' if ends_itself else ''}"
        if not self.folder.exists():
            _build(shape, name, self.folder, ends_itself=ends_itself)
        self.engine: Any = open_engine(
            ModelVersion(shape, 1, str(self.folder), self.folder, shape, dtype=options.dtype), device=options.device
        )
        self._prepare = self.engine.loaded.prompts.prepare
        self.engine.loaded.prompts.prepare = self._ending
        self._work: Work | None = None
        self.outputs: dict[int, list[int]] = {}

    def rows(self, work: Work) -> list[EngineSequence]:
        """The rows of a work, with the token ids of their prompts."""
        rows: list[EngineSequence] = self._prepare(work.requests)
        return rows

    def run(self, work: Work) -> list[list[int]]:
        """What the engine answers, in token ids, in the order of the requests."""
        self._work, finished = work, []
        complete = self.engine.loaded.prompts.complete
        self.engine.loaded.prompts.complete = lambda row: (finished.append(row), complete(row))[1]
        try:
            failed = [c.error for c in self.engine.generate(work.requests) if c.error]
        finally:
            self.engine.loaded.prompts.complete = complete
        if failed:
            raise SystemExit(f"{len(failed)} requests failed: {failed[0]}")
        outputs = {int(row.request.key): row.output for row in finished}
        return [outputs[i] for i in range(len(work.requests))]

    def _ending(self, requests: Sequence[Request]) -> list[EngineSequence | Completion]:
        rows = self._prepare(requests)
        if self._work is not None and self._work.ends is not None:
            for row in rows:
                if isinstance(row, Completion):
                    raise SystemExit(f"a request cannot be run: {row.error}")
                row.__class__, row.end = _Ending, self._work.ends[int(row.request.key)]
                row.settings = replace(row.settings, eos=frozenset())
        return list(rows)

    def flops(self, work: Work) -> float:
        """Floating-point operations that the answers need: each distinct prompt token and each answer token once.

        Linear layers of a decoder-only model, its head for the tokens of answers alone, and its attention.
        """
        config = self.engine.loaded.config
        rows = self.rows(work)
        nodes, _ = build_prefix_tree([row.prompt for row in rows], [], None)
        num_prompt = sum(len(node.tokens) for node in nodes)
        num_output = sum(work.ends)
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        keys, queries = config.num_key_value_heads * head_dim, config.num_attention_heads * head_dim
        layer = config.hidden_size * (2 * queries + 2 * keys + 3 * config.intermediate_size)
        attended = sum(len(node.tokens) * (node.offset + len(node.tokens) / 2) for node in nodes)
        attended += sum(end * (len(row.prompt) + end / 2) for row, end in zip(rows, work.ends, strict=True))
        linear = 2 * layer * (num_prompt + num_output) + 4 * queries * attended
        return config.num_hidden_layers * linear + 2 * config.vocab_size * config.hidden_size * num_output
