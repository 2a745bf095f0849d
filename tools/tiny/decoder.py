"""How sqlinfer/tiny is made: a Llama of 3.7 million parameters that answers questions about reviews and tickets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch

from sqlinfer.engine.input.prompts import message_of
from tools.random_models import ASSISTANT, BOS, END, EOS, SPECIAL
from tools.tiny import pointing
from tools.tiny.chats import Chat, Turn, write_chat
from tools.tiny.copying import wire
from tools.tiny.fit import by_length, fit, padded
from tools.tiny.pointing import Pointer

ROUNDS = ((2000, 1.5e-3), (500, 7e-4))
"""Of each round: the steps, and the peak of the learning rate."""

NUM_ROWS = 32
NUM_TURNS = 6
"""Further questions about each text."""

_FIRST_WEIGHT = 2.0
"""Of the loss of a chat's first answer, where a further one of a single token has 1."""

_POINTING = 0.3
"""Of the loss of looking at the right place, beside that of the answers."""

_PROMPT_WEIGHT = 0.2
_LOOKED_AT = 0.1
"""Of the loss of a prompt's token, and the share of these that is worked out. Prompts mostly cannot be guessed, so that
with the weight of answers they drown what is to be learned."""


def train(tokenizer: Any, seed: int = 0, rounds: Sequence[tuple[int, float]] = ROUNDS) -> Any:
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
    wire(model)
    rng = Random(seed)
    batches = by_length(lambda: row_of(write_chat(rng, NUM_TURNS), tokenizer), lambda row: len(row.ids), rng, NUM_ROWS)
    watched = pointing.watch(model)
    for num_steps, peak in rounds:
        fit(model, batches, lambda rows: _loss(model, rows, watched), num_steps, peak)
    model.generation_config = GenerationConfig(**ids)
    return model


def splits() -> list[Any]:
    """Where the tokenizer cuts, so that a name or a number has the same tokens after a space and after a quote.

    Otherwise what stands in the text cannot be copied into JSON, only translated.
    """
    from tokenizers import Regex, pre_tokenizers

    return [
        pre_tokenizers.Split(Regex(r" (?=[\p{Lu}\d#$])"), "isolated"),
        pre_tokenizers.Digits(individual_digits=True),
    ]


@dataclass(frozen=True, slots=True)
class Row:
    """The tokens of a chat, the weight of each one's loss (0 in prompts), and where the answers come from."""

    ids: list[int]
    weights: list[float]
    pointers: list[Pointer]


def row_of(chat: Chat, tokenizer: Any) -> Row:
    """What the engine shows the model, then the right answer, the end of the turn, and the turns that follow.

    An answer of n tokens weighs as the square root of n: one of a single token, yes or no, must not get lost.
    """
    request, text = chat.first.request, chat.first.text
    first = Turn(message_of(request, request.text), chat.first.answer, chat.first.fact)
    turns = [first, *chat.turns]
    messages = [{"role": "user", "content": turn.message} for turn in turns]
    prompts = [
        tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True) for message in messages
    ]
    assert all(prompt.startswith(BOS) and prompt.endswith(ASSISTANT) for prompt in prompts)
    prompts = [prompts[0], *(prompt.removeprefix(BOS) for prompt in prompts[1:])]
    texts = [*prompts, *(turn.answer for turn in turns)]
    done = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    pieces, spans = done["input_ids"], done["offset_mapping"]
    start = prompts[0].find(text.body)
    body = [(max(0, a - start), b - start) if b > start else (-1, -1) for a, b in spans[0]] if start >= 0 else []
    row = Row([], [], [])
    for number, turn in enumerate(turns):
        answer = len(turns) + number
        row.ids.extend(pieces[number])
        row.pointers.extend(pointing.pointers(turn.answer, turn.fact, text, spans[answer], len(row.ids), body))
        target = [*pieces[answer], SPECIAL.index(END)]
        weight = (1.0 if number else _FIRST_WEIGHT) / len(target) ** 0.5
        row.ids.extend(target)
        row.weights.extend([0.0] * len(pieces[number]) + [weight] * len(target))
    return row


def _loss(model: Any, rows: Sequence[Row], watched: dict[str, Any]) -> torch.Tensor:
    """Cross entropy of the answers' tokens and of a tenth of the prompts', and that of looking at the right places."""
    ids = padded([row.ids for row in rows], 0)
    weights = padded([row.weights for row in rows], 0)[:, 1:]
    prompts = (weights == 0) & (ids[:, 1:] != 0)
    weights = weights + _PROMPT_WEIGHT * (prompts & (torch.rand(weights.shape) < _LOOKED_AT))
    hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state  # padding comes last, so no row reads it
    weighted = weights > 0
    losses = torch.nn.functional.cross_entropy(model.lm_head(hidden[weighted]), ids[:, 1:][weighted], reduction="none")
    looks = pointing.loss(model, watched, [row.pointers for row in rows])
    return (losses * weights[weighted]).sum() / weights.sum() + _POINTING * looks
