"""A wired model copies before it has learned anything."""

from __future__ import annotations

from typing import Any

import torch

from tools.tiny.copying import wire, wire_pair


def test_a_wired_model_goes_on_as_the_same_tokens_went_on_before() -> None:
    torch.manual_seed(0)
    model = _llama()
    assert _copied(model) < 0.05
    wire(model)
    assert _copied(model) > 0.9


def test_a_wired_decoder_looks_behind_the_earlier_occurrence_of_the_token_that_it_has_just_said() -> None:
    torch.manual_seed(0)
    model = _t5()
    assert _found(model) < 0.2
    wire_pair(model)
    assert _found(model) > 0.8


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


def _t5() -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    shape = {"d_model": 192, "d_kv": 48, "d_ff": 576, "num_layers": 3, "num_decoder_layers": 4, "num_heads": 4}
    model = T5ForConditionalGeneration(T5Config(**shape, vocab_size=500, decoder_start_token_id=0, dropout_rate=0.0))
    model.set_attn_implementation("eager")
    return model


@torch.no_grad()
def _found(model: Any) -> float:
    """Of texts of 30 random tokens and a piece of each: how often the head looks most at the token that comes next."""
    texts = torch.stack([torch.randperm(499)[:30] + 1 for _ in range(16)])
    said = model(input_ids=texts, decoder_input_ids=texts[:, 8:20], output_attentions=True)
    looked_at = said.cross_attentions[0][:, 0].argmax(-1)
    return (looked_at == torch.arange(9, 21)).float().mean().item()
