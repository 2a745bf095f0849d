"""What a model is for: to write text, to embed it, to classify it, or to score pairs of texts.

Knows no torch: configuration and folder tell.
"""

from __future__ import annotations

from typing import Any, Literal

from sqlinfer.types import ModelVersion

Kind = Literal["generate", "embed", "classify", "rerank"]
MODULES = "modules.json"  # sentence-transformers writes it


def find_kind(version: ModelVersion, config: Any) -> Kind:
    """A classifier's head, or the lack of any head, says it; version.task "embed" turns a writing model into one that
    embeds."""
    heads = config.architectures or []
    if any(head.endswith("ForSequenceClassification") for head in heads):
        return "rerank" if config.num_labels == 1 else "classify"
    if version.task == "embed" or (version.path / MODULES).is_file():
        return "embed"
    is_encoder = any(_is_encoder(head) for head in heads) and not config.is_encoder_decoder
    return "embed" if is_encoder else "generate"


def _is_encoder(head: str) -> bool:
    return head.endswith("ForMaskedLM") or (head.endswith("Model") and not head.endswith("LMHeadModel"))
