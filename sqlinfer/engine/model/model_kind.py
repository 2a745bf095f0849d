"""The kind of a model: it generates, embeds, classifies or reranks; and which kinds answer a request.

Knows no torch: configuration and folder decide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from sqlinfer.types import (
    AnyRequest,
    Choose,
    Classify,
    CountTokens,
    Embed,
    Generate,
    ModelKind,
    ModelVersion,
    SplitText,
)

MODULES = "modules.json"  # sentence-transformers writes it
DOES: Mapping[ModelKind, str] = {
    "generate": "writes text",
    "embed": "embeds texts",
    "classify": "classifies texts",
    "rerank": "scores pairs of texts",
}
_FOR: Mapping[ModelKind, str] = {
    "generate": "",
    "embed": " for ai_embed and ai_similarity",
    "classify": " for ai_classify and ai_predict",
    "rerank": " for ai_score and ai_filter",
}

_ANSWERED_BY: Mapping[type[AnyRequest], tuple[ModelKind, ...]] = {
    Generate: ("generate",),
    Choose: ("generate", "classify"),
    Embed: ("embed",),
    Classify: ("classify",),
    CountTokens: tuple(DOES),
    SplitText: ("generate",),
}


def find_model_kind(version: ModelVersion, config: Any) -> ModelKind:
    """The kind by the architecture's head, or the lack of one; version.task "embed" makes a generative model embed."""
    heads = config.architectures or []
    if any(head.endswith("ForSequenceClassification") for head in heads):
        return "rerank" if config.num_labels == 1 else "classify"
    if version.task == "embed" or (version.path / MODULES).is_file():
        return "embed"
    is_encoder = any(_is_encoder(head) for head in heads) and not config.is_encoder_decoder
    return "embed" if is_encoder else "generate"


def guess_model_kind(version: ModelVersion) -> ModelKind | None:
    """The kind by config.json alone, without transformers, which knows the defaults but takes seconds to load; None if
    the file cannot be read."""
    try:
        config = json.loads((version.path / "config.json").read_text(encoding="utf-8"))
        fields = {name: config.get(name) for name in ("architectures", "is_encoder_decoder")}
        labels = len(config.get("id2label") or {}) or config.get("num_labels", 2)
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return find_model_kind(version, SimpleNamespace(num_labels=labels, **fields))


def _is_encoder(head: str) -> bool:
    return head.endswith("ForMaskedLM") or (head.endswith("Model") and not head.endswith("LMHeadModel"))


def answering_kinds(request: AnyRequest) -> tuple[ModelKind, ...]:
    """The kinds of model that can answer a request: a choice of two about a query is a score of their pair, too."""
    kinds = _ANSWERED_BY[type(request)]
    is_pair = isinstance(request, Choose) and request.query and len(request.choices) == 2
    return (*kinds, "rerank") if is_pair else kinds


def unsupported_reason(kind: ModelKind, request: AnyRequest) -> str:
    """Why a model of a kind cannot answer a request, to follow its name; "" if it can."""
    kinds = answering_kinds(request)
    if kind in kinds:
        return ""
    required = " or ".join(DOES[other] for other in kinds)
    return f"{DOES[kind]}{_FOR[kind]}, and this needs one that {required}"
