"""What a model is for: to write text, to embed it, to classify it, or to score pairs of texts; what requests need.

Knows no torch: configuration and folder tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Literal

from sqlinfer.types import ModelVersion, Request

Kind = Literal["generate", "embed", "classify", "rerank"]
MODULES = "modules.json"  # sentence-transformers writes it
DOES: Mapping[Kind, str] = {
    "generate": "writes text",
    "embed": "embeds texts",
    "classify": "classifies texts",
    "rerank": "scores pairs of texts",
}
_FOR: Mapping[Kind, str] = {
    "generate": "",
    "embed": " for ai_embed and ai_similarity",
    "classify": " for ai_classify and ai_predict",
    "rerank": " for ai_score and ai_filter",
}


def find_model_kind(version: ModelVersion, config: Any) -> Kind:
    """A classifier's head, or the lack of any head, says it; version.task "embed" turns a writing model into one that
    embeds."""
    heads = config.architectures or []
    if any(head.endswith("ForSequenceClassification") for head in heads):
        return "rerank" if config.num_labels == 1 else "classify"
    if version.task == "embed" or (version.path / MODULES).is_file():
        return "embed"
    is_encoder = any(_is_encoder(head) for head in heads) and not config.is_encoder_decoder
    return "embed" if is_encoder else "generate"


def guess_model_kind(version: ModelVersion) -> Kind | None:
    """The kind that config.json tells by itself, at once: transformers, which knows defaults too, takes seconds to
    load. None if the file cannot be read."""
    try:
        said = json.loads((version.path / "config.json").read_text(encoding="utf-8"))
        named = {name: said.get(name) for name in ("architectures", "is_encoder_decoder")}
        labels = len(said.get("id2label") or {}) or said.get("num_labels", 2)
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return find_model_kind(version, SimpleNamespace(num_labels=labels, **named))


def _is_encoder(head: str) -> bool:
    return head.endswith("ForMaskedLM") or (head.endswith("Model") and not head.endswith("LMHeadModel"))


def kinds_for(request: Request) -> tuple[Kind, ...]:
    """The kinds of model that can answer a request."""
    if request.task == "count_tokens":
        return tuple(DOES)
    if request.overflow == "split":
        return ("generate",)
    if request.task == "embed":
        return ("embed",)
    if request.task == "predict":
        return ("classify",)
    if request.choices:
        is_pair = bool(request.query) and len(request.choices) == 2
        return ("generate", "classify", "rerank") if is_pair else ("generate", "classify")
    return ("generate",)


def unsupported_reason(kind: Kind, request: Request) -> str:
    """Why a model of a kind cannot answer a request, to be said after its name; "" if it can."""
    needed = kinds_for(request)
    if kind in needed:
        return ""
    wanted = " or ".join(DOES[each] for each in needed)
    return f"{DOES[kind]}{_FOR[kind]}, and this needs one that {wanted}"
