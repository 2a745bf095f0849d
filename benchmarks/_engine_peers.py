"""The peers of the engine: transformers' generate, pipeline and continuous batching, and CTranslate2."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks._engine_model import MOST_BEAM_TOKENS, MOST_TOKENS, Bench, Work

EOS, NO_EOS = 2, -1  # with None, generate would take the model's own


class Ends(transformers.StoppingCriteria):
    """Ends each row of generate after its number of tokens. ends: by the prompt's token ids, without padding."""

    def __init__(self, ends: dict[tuple[int, ...], int], pad: int) -> None:
        self._ends = ends
        self._pad = pad
        self._seen = (0, 0)
        self._start, self._of_batch = 0, torch.empty(0)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        if tuple(input_ids.shape) != (self._seen[0], self._seen[1] + 1):
            prompts = [tuple(t for t in ids if t != self._pad) for ids in input_ids[:, :-1].tolist()]
            self._of_batch = torch.tensor([self._ends[prompt] for prompt in prompts], device=input_ids.device)
            self._start = input_ids.shape[1] - 1
        self._seen = tuple(input_ids.shape)
        return self._of_batch <= input_ids.shape[1] - self._start


def load(bench: Bench) -> Any:
    """The model as transformers loads it."""
    name = "AutoModelForSeq2SeqLM" if bench.engine.loaded.config.is_encoder_decoder else "AutoModelForCausalLM"
    return (
        getattr(transformers, name)
        .from_pretrained(bench.folder, dtype=bench.dtype)
        .to(bench.engine.loaded.model.device)
        .eval()
    )


def static(model: Any, bench: Bench, work: Work, batch_size: int, num_beams: int = 1) -> list[list[int]]:
    """generate on batches of prompts sorted by length, each batch until its last row ends."""
    rows = bench.rows(work)
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i].prompt))
    outputs: list[list[int]] = [[] for _ in rows]
    is_seq2seq = model.config.is_encoder_decoder
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        ids, mask = _padded([rows[i].prompt for i in batch], left=not is_seq2seq)
        first = 1 if is_seq2seq else ids.shape[1]
        ends = [work.ends[i] for i in batch] if work.ends else None
        stop = transformers.StoppingCriteriaList([_BatchEnds(ends, first)] if ends else [])
        config = _config(model, num_beams, has_end=work.ends is None)
        with torch.inference_mode():
            ids, mask = ids.to(model.device), mask.to(model.device)
            generated = model.generate(
                ids, attention_mask=mask, generation_config=config, stopping_criteria=stop
            ).tolist()
        for i, (index, tokens) in enumerate(zip(batch, generated, strict=True)):
            written = tokens[first:]
            end = ends[i] if ends else written.index(EOS) + 1 if EOS in written else len(written)
            outputs[index] = written[:end]
    return outputs


class _BatchEnds(transformers.StoppingCriteria):
    def __init__(self, ends: list[int], first: int) -> None:
        self._ends, self._first = torch.tensor(ends), first

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        return (self._ends <= input_ids.shape[1] - self._first).to(input_ids.device)


def _config(model: Any, num_beams: int = 1, *, has_end: bool = False) -> transformers.GenerationConfig:
    return transformers.GenerationConfig(
        max_new_tokens=MOST_BEAM_TOKENS if has_end else MOST_TOKENS,
        do_sample=False,
        num_beams=num_beams,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=EOS if has_end else NO_EOS,
        decoder_start_token_id=model.generation_config.decoder_start_token_id,
    )


def _padded(prompts: list[list[int]], *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, prompts))
    fill = [[0] * (longest - len(prompt)) for prompt in prompts]
    ids = [f + p if left else p + f for p, f in zip(prompts, fill, strict=True)]
    ones = [
        [0] * len(f) + [1] * len(p) if left else [1] * len(p) + [0] * len(f) for p, f in zip(prompts, fill, strict=True)
    ]
    return torch.tensor(ids), torch.tensor(ones)


def pipeline(model: Any, bench: Bench, work: Work, batch_size: int) -> list[list[int]]:
    """transformers' text-generation pipeline, prompts in the order of the table."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(bench.folder, padding_side="left")
    generator = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer, device=model.device)
    texts = [bench.engine.loaded.prompts.render(request, request.text) for request in work.requests]
    ends = {tuple(row.prompt): end for row, end in zip(bench.rows(work), work.ends, strict=True)}
    with torch.inference_mode():
        answers = generator(
            texts,
            batch_size=batch_size,
            return_tensors=True,
            add_special_tokens=False,
            generation_config=_config(model),
            stopping_criteria=transformers.StoppingCriteriaList([Ends(ends, 0)]),
        )
    outputs = []
    for (answer,), row, end in zip(answers, bench.rows(work), work.ends, strict=True):
        ids = list(answer["generated_token_ids"])
        start = next(i for i in range(len(ids)) if ids[i : i + len(row.prompt)] == row.prompt)
        outputs.append(ids[start + len(row.prompt) :][:end])
    return outputs


def continuous(model: Any, bench: Bench, work: Work) -> list[list[int]]:
    """transformers' continuous batching as installed; all answers must have the same length."""
    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)
    (end,) = set(work.ends)
    config = _config(model)
    config.max_new_tokens = end
    with torch.no_grad():  # its thread writes into what it makes here, which inference mode forbids
        answers = model.generate_batch([row.prompt for row in bench.rows(work)], generation_config=config)
    by_number = sorted(answers.items(), key=lambda item: int(item[0].rpartition("_")[2]))
    return [answer.generated_tokens for _, answer in by_number]


def _name_all(folder: Path, num_tokens: int) -> None:
    """Give a tokenizer as many tokens as the model has, which the converter asks for."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<unnamed {i}>" for i in range(len(tokenizer), num_tokens)])
    tokenizer.save_pretrained(folder)


def ctranslate(bench: Bench, work: Work) -> Callable[[], list[list[int]]] | None:
    """CTranslate2 in float32 on the same weights; None where it is not installed."""
    if importlib.util.find_spec("ctranslate2") is None:
        return None
    import ctranslate2

    with tempfile.TemporaryDirectory() as folder:
        source, target = shutil.copytree(bench.folder, Path(folder) / "model"), Path(folder) / "ct2"
        _name_all(source, bench.engine.loaded.config.vocab_size)
        transformers.BartConfig.normalize_before = False  # the converter reads it, and transformers has it no more
        ctranslate2.converters.TransformersConverter(str(source)).convert(str(target))
        vocabulary = json.loads((target / "shared_vocabulary.json").read_text(encoding="utf-8"))
        translator = ctranslate2.Translator(str(target), compute_type="float32", intra_threads=torch.get_num_threads())
    tokenizer = transformers.AutoTokenizer.from_pretrained(bench.folder)
    tokens = [tokenizer.convert_ids_to_tokens(row.prompt) for row in bench.rows(work)]
    ids = {token: i for i, token in enumerate(vocabulary)}
    (end,) = set(work.ends)

    def answer() -> list[list[int]]:
        results = translator.translate_batch(
            tokens, beam_size=1, max_batch_size=4096, batch_type="tokens", max_decoding_length=end,
            min_decoding_length=end, disable_unk=False,
        )  # fmt: skip
        return [[ids[token] for token in result.hypotheses[0][:end]] for result in results]

    return answer
