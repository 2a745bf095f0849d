"""Where in a text the words of an answer come from, and a loss that teaches two heads to look there.

A small model learns to look a fact up only after thousands of steps if all that it hears is which answer was right.
The generator knows where each fact stands, so training says it: the first head of a layer is to look at the very token
that is copied next, the second at the end of the sentence that tells the fact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tools.tiny.texts import Text

LAYER = 2
COPY, EVIDENCE = 0, 1
"""The layer and its heads that learn to look."""

Span = tuple[int, int]
"""Characters of a token: start, end."""

Pointer = tuple[int, int, int]
"""A head, the position from which it looks, the position at which it is to look."""


def pointers(answer: str, fact: str, text: Text, spans: Sequence[Span], at: int, body: Sequence[Span]) -> list[Pointer]:
    """What an answer points at.

    spans: of the answer's tokens, the first of which stands at position at. body: of the text's tokens within
    text.body, counted from the first position.
    """
    links = [(COPY, *pair) for pair in _copies(answer, text, spans, body)]
    links += [(EVIDENCE, *pair) for pair in _evidence(answer, fact, text, spans, body)]
    return [(head, at + token - 1, source) for head, token, source in links]


def loss(model: Any, seen: dict[str, Any], rows: Sequence[Sequence[Pointer]]) -> torch.Tensor:
    """Cross entropy between where the heads look and where they are to look; seen: what watch() saw."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    attention, size = model.model.layers[LAYER].self_attn, model.config.head_dim
    hidden, turns = seen["hidden_states"], seen["position_embeddings"]
    losses = []
    for head in (COPY, EVIDENCE):
        where = [(row, start, end) for row, marks in enumerate(rows) for which, start, end in marks if which == head]
        if not where:
            continue
        own = slice(head * size, (head + 1) * size)
        query, key = (hidden @ part.weight[own].T for part in (attention.q_proj, attention.k_proj))
        query, key = (part[:, 0] for part in apply_rotary_pos_emb(query[:, None], key[:, None], *turns))
        row, start, end = torch.tensor(where).T
        scores = torch.bmm(query, key.transpose(1, 2))[row, start] / size**0.5  # (pointers, positions)
        later = torch.arange(scores.shape[1]) > start[:, None]
        losses.append(torch.nn.functional.cross_entropy(scores.masked_fill(later, -torch.inf), end))
    return torch.stack(losses).sum()


def watch(model: Any) -> dict[str, Any]:
    """A place where each forward pass leaves what the layer's attention was given."""
    seen: dict[str, Any] = {}
    model.model.layers[LAYER].self_attn.register_forward_pre_hook(
        lambda _, __, kwargs: seen.update(kwargs), with_kwargs=True
    )
    return seen


def _copies(answer: str, text: Text, spans: Sequence[Span], body: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Tokens of the answer and the tokens of the text that they repeat."""
    facts = text.facts
    sources = {end: number for number, (_, end) in enumerate(body)}
    done = set[int]()
    for value in (facts.product, facts.brand, facts.date, facts.order, facts.price, facts.city, facts.kind):
        start = answer.find(value) if value else -1
        there = text.body.find(value) if value else -1
        if value is None or start < 0 or there < 0:
            continue
        for token, (_, end) in enumerate(spans):
            source = sources.get(there + end - start)
            if start < end <= start + len(value) and source is not None and token not in done:
                done.add(token)
                yield token, source


def _evidence(
    answer: str, fact: str, text: Text, spans: Sequence[Span], body: Sequence[Span]
) -> Iterator[tuple[int, int]]:
    """Tokens of the answer with which it says a fact, and the last tokens of the sentences that tell it."""
    facts = text.facts
    names = {name: name for name, _ in facts.aspects} | {"mood": facts.mood, "concern": facts.concern}
    starts = {name: answer.find(word) for name, word in names.items() if word and name in text.ends and name != fact}
    if fact in text.ends:
        starts[fact] = 0
    for name, start in starts.items():
        token = next((number for number, (_, end) in enumerate(spans) if start >= 0 and end > start), None)
        source = next((number for number, (start, end) in enumerate(body) if start <= text.ends[name] < end), None)
        if token is not None and source is not None:
            yield token, source
