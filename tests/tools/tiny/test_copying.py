"""A wired model copies before it has learned anything."""

from __future__ import annotations

from typing import Any

import torch

from tools.tiny.copying import wire


def test_a_wired_model_goes_on_as_the_same_tokens_went_on_before() -> None:
    torch.manual_seed(0)
    model = _llama()
    assert _copied(model) < 0.05
    wire(model)
    assert _copied(model) > 0.9


def _llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=4, vocab_size=500, tie_word_embeddings=True))


@torch.no_grad()
def _copied(model: Any) -> float:
    """Of 30 random tokens and a piece of them again: how often the likeliest other token is the one that came next."""
    texts = torch.stack([torch.randperm(500)[:30] for _ in range(16)])
    ids = torch.cat([texts, texts[:, 8:20]], dim=1)
    logits = model(ids[:, :-1]).logits[:, 30:]
    logits.scatter_(2, ids[:, 30:-1, None], -torch.inf)  # tied embeddings: before training, a token says itself
    return (logits.argmax(-1) == ids[:, 31:]).float().mean().item()
