"""How sqlinfer/tiny-summarizer is made: a T5 of 3.3 million parameters that says a review or ticket in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import torch

from tools.tiny.fit import by_length, fit, padded
from tools.tiny.texts import Text, write_text

NUM_STEPS = 2200
NUM_ROWS = 40
PREFIX = "summarize: "
Row = tuple[list[int], list[int]]
"""Tokens of the text and of its summary."""


def train(tokenizer: Any, seed: int = 0, num_steps: int = NUM_STEPS) -> Any:
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
    rng = Random(seed)
    batches = by_length(lambda: _row(write_text(rng), tokenizer), lambda row: len(row[0]), rng, NUM_ROWS)
    fit(model, batches, lambda rows: _loss(model, rows), num_steps)
    model.generation_config = GenerationConfig(pad_token_id=0, eos_token_id=2, decoder_start_token_id=0)
    return model


def _row(text: Text, tokenizer: Any) -> Row:
    body, summary = tokenizer([PREFIX + text.body, text.facts.summary])["input_ids"]
    return body, summary


def _loss(model: Any, rows: Sequence[Row]) -> torch.Tensor:
    ids = padded([body for body, _ in rows], 0)
    labels = padded([summary for _, summary in rows], -100)
    loss: torch.Tensor = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss
    return loss
