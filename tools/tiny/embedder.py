"""How sqlinfer/tiny-embed is made: a BERT of 1.2 million parameters that puts texts on one kind of product together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import torch

from tools.tiny.fit import fit, padded
from tools.tiny.texts import write_text
from tools.tiny.words import KINDS

NUM_STEPS = 1000
NUM_ROWS = 80
POSITIONS = 512
WIDTH = 192
_TEMPERATURE = 0.07
_QUERIES = ("{}", "a {}", "texts about a {}", "the {}", "{} reviews", "a new {}")
Row = tuple[list[int], int]
"""Tokens of a text, and the number of its kind of product."""


def train(tokenizer: Any, seed: int = 0, num_steps: int = NUM_STEPS) -> Any:
    """The trained model."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(
        hidden_size=WIDTH,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=len(tokenizer),
        max_position_embeddings=POSITIONS,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )
    model = BertModel(config, add_pooling_layer=False)
    fit(model, _batches(tokenizer, Random(seed)), lambda rows: _loss(model, rows), num_steps, peak=1e-3)
    return model


def _batches(tokenizer: Any, rng: Random) -> Iterator[Sequence[Row]]:
    """Texts of all kinds, and now and then the words with which somebody looks for them."""
    kinds = list(KINDS)
    while True:
        texts, truths = [], []
        for _ in range(NUM_ROWS):
            text = write_text(rng)
            query = rng.choice(_QUERIES).format(text.facts.kind)
            texts.append(query if rng.random() < 0.2 else text.facts.summary if rng.random() < 0.15 else text.body)
            truths.append(kinds.index(text.facts.kind))
        yield list(zip(tokenizer(texts)["input_ids"], truths, strict=True))


def embed(model: Any, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Unit vectors (rows, width): the mean of the tokens' last states."""
    ids = padded(rows, 0)
    mask = (ids != 0).long()
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(mean, dim=-1)


def _loss(model: Any, rows: Sequence[Row]) -> torch.Tensor:
    """Supervised contrastive loss: of a text's neighbours in the batch, those of its kind shall be the nearest.

    Khosla et al., Supervised Contrastive Learning, arXiv 2004.11362.
    """
    vectors = embed(model, [ids for ids, _ in rows])
    kinds = torch.tensor([kind for _, kind in rows])
    itself = torch.eye(len(rows), dtype=torch.bool)
    scores = (vectors @ vectors.T / _TEMPERATURE).masked_fill(itself, -1e9)
    alike = (kinds[:, None] == kinds[None, :]) & ~itself
    log_probs = scores.log_softmax(dim=-1)
    has_pair = alike.any(dim=1)
    means = (log_probs * alike).sum(1)[has_pair] / alike.sum(1)[has_pair]
    return -means.mean()
