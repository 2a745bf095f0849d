"""How sqlinfer/tiny-summarizer is made: a T5 of 3.3 million parameters that says a review or ticket in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch

from tools.tiny import pointing
from tools.tiny.copying import wire_pair
from tools.tiny.fit import by_length, fit, padded
from tools.tiny.pointing import Pointer
from tools.tiny.texts import Text, write_text


@dataclass(frozen=True, slots=True)
class Round:
    """A stretch of training: its steps, the peak of the learning rate, and whether heads learn where to look."""

    num_steps: int
    peak: float
    points: bool


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens of a text and of its summary, and what the decoder's cross-attention is to look at."""

    body: list[int]
    summary: list[int]
    pointers: list[Pointer]


ROUNDS = (Round(2200, 1.5e-3, points=False), Round(800, 1.5e-3, points=True))
"""The heads that copy are wired where a round begins that points."""

NUM_ROWS = 40
PREFIX = "summarize: "
LAYER_OF = {pointing.COPY: 0, pointing.EVIDENCE: 2}
"""The decoder layer in which each head learns to look."""

_LEAST = 1e-9
"""Added to a share of attention, so that its logarithm is finite."""


def train(tokenizer: Any, seed: int = 0, rounds: Sequence[Round] = ROUNDS) -> Any:
    """The trained model."""
    from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

    torch.manual_seed(seed)
    config = T5Config(
        d_model=192,
        d_kv=48,
        d_ff=576,
        num_layers=3,
        num_decoder_layers=4,
        num_heads=4,
        vocab_size=len(tokenizer),
        n_positions=512,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=2,
        task_specific_params={"summarization": {"prefix": PREFIX, "max_length": 64}},
    )
    model = T5ForConditionalGeneration(config)
    for number, stretch in enumerate(rounds):
        _learn(model, tokenizer, stretch, seed + number)
    model.generation_config = GenerationConfig(
        pad_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=0,
        no_repeat_ngram_size=2,  # no reference summary says a pair of tokens twice
    )
    return model


def _learn(model: Any, tokenizer: Any, stretch: Round, seed: int) -> None:
    torch.manual_seed(seed)
    rng = Random(seed)
    if stretch.points:
        wire_pair(model)
        model.set_attn_implementation("eager")  # the others do not tell where they look
    batches = by_length(lambda: _row(write_text(rng), tokenizer), lambda row: len(row.body), rng, NUM_ROWS)
    fit(model, batches, lambda rows: _loss(model, rows, stretch.points), stretch.num_steps, stretch.peak)


def _row(text: Text, tokenizer: Any) -> Row:
    done = tokenizer([PREFIX + text.body, text.facts.summary], return_offsets_mapping=True)
    (body, summary), (text_spans, spans) = done["input_ids"], done["offset_mapping"]
    start = len(PREFIX)
    within = [(max(0, a - start), b - start) if b > start else (-1, -1) for a, b in text_spans]
    return Row(body, summary, pointing.pointers(text.facts.summary, "", text, spans, 1, within))


def _loss(model: Any, rows: Sequence[Row], points: bool) -> torch.Tensor:
    """Cross entropy of the summaries' tokens and, if it points, that of looking at the right places."""
    ids = padded([row.body for row in rows], 0)
    labels = padded([row.summary for row in rows], -100)
    outputs = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels, output_attentions=points)
    loss: torch.Tensor = outputs.loss
    for head, layer in LAYER_OF.items() if points else ():
        marks = [(number, *at) for number, row in enumerate(rows) for which, *at in row.pointers if which == head]
        if marks:
            row, start, end = torch.tensor(marks).T
            loss = loss - (outputs.cross_attentions[layer][row, head, start, end] + _LEAST).log().mean()
    return loss
