"""How sqlinfer/tiny is made: a Llama of 3.7 million parameters that answers questions about reviews and tickets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch

from sqlinfer.engine.prompt import message_of
from sqlinfer.engine.shapes import ASSISTANT, END, EOS, SPECIAL
from sqlinfer.tiny.fit import by_length, fit, padded
from sqlinfer.tiny.questions import Question, write_question

NUM_STEPS = 3600
NUM_ROWS = 40
_PROMPT_WEIGHT = 0.4
"""Of a prompt token's loss, where an answer of one token has 10. Prompts mostly cannot be guessed, so that with the
weight of answers they drown what is to be learned."""

_LOOKED_AT = 0.1
"""The share of prompt tokens whose loss is worked out."""


def train(tokenizer: Any, seed: int = 0, num_steps: int = NUM_STEPS) -> Any:
    """The trained model."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": [SPECIAL.index(EOS), SPECIAL.index(END)]}
    config = LlamaConfig(
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=len(tokenizer),
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        **ids,
    )
    model = LlamaForCausalLM(config)
    rng = Random(seed)
    batches = by_length(lambda: row_of(write_question(rng), tokenizer), lambda row: len(row.ids), rng, NUM_ROWS)
    fit(model, batches, lambda rows: _loss(model, rows), num_steps)
    model.generation_config = GenerationConfig(**ids)
    return model


@dataclass(frozen=True, slots=True)
class Row:
    """The tokens of a prompt and its answer. start: where the answer begins."""

    ids: list[int]
    start: int


def row_of(question: Question, tokenizer: Any) -> Row:
    """What the engine shows the model, followed by the right answer and the end of the turn."""
    chat = [{"role": "user", "content": message_of(question.request, question.request.text)}]
    prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert prompt.endswith(ASSISTANT)
    start, answer = tokenizer([prompt, question.answer], add_special_tokens=False)["input_ids"]
    return Row([*start, *answer, SPECIAL.index(END)], len(start))


def _loss(model: Any, rows: Sequence[Row]) -> torch.Tensor:
    """Cross entropy of the answers' tokens and of a tenth of the prompts'.

    An answer of n tokens weighs as the square root of n: one of a single token, yes or no, must not get lost.
    """
    ids = padded([row.ids for row in rows], 0)
    weights = padded([_weights(row) for row in rows], 0)[:, 1:]
    weights = weights * ((weights > _PROMPT_WEIGHT + 1e-6) | (torch.rand(weights.shape) < _LOOKED_AT))
    hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state  # padding comes last, so no row reads it
    seen = weights > 0
    losses = torch.nn.functional.cross_entropy(model.lm_head(hidden[seen]), ids[:, 1:][seen], reduction="none")
    return (losses * weights[seen]).sum() / weights.sum()


def _weights(row: Row) -> list[float]:
    answer = len(row.ids) - row.start
    return [_PROMPT_WEIGHT] * row.start + [10.0 / answer**0.5] * answer
