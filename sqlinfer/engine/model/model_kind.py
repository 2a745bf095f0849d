"""The kind of a model: it generates, embeds, classifies or reranks, texts or images; and what answers a request.

Knows no torch: configuration and folder decide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Literal

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

Media = Literal["texts", "images", "texts and images"]
IMAGE_CLASSIFIER = "ForImageClassification"
MODULES = "modules.json"  # sentence-transformers writes it
DOES: Mapping[ModelKind, str] = {
    "generate": "writes text",
    "embed": "embeds",
    "classify": "classifies",
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
    if any(IMAGE_CLASSIFIER in head for head in heads):
        return "classify"
    if version.task == "embed" or (version.path / MODULES).is_file():
        return "embed"
    is_encoder = any(_is_encoder(head) for head in heads) and not config.is_encoder_decoder
    return "embed" if is_encoder else "generate"


def find_media(config: Any) -> Media:
    """What a model reads: one with a vision tower images, too; one of images alone has channels and no vocabulary."""
    if getattr(config, "vision_config", None) is not None:
        return "texts and images"
    is_visual = any(IMAGE_CLASSIFIER in head for head in config.architectures or ()) or hasattr(config, "num_channels")
    return "images" if is_visual and not hasattr(config, "vocab_size") else "texts"


def guess_support(version: ModelVersion, request: AnyRequest) -> bool:
    """Whether a model answers a request, by config.json alone, without transformers, which takes seconds to load but
    knows defaults that may show more; nor does it if the file cannot be read."""
    try:
        config = json.loads((version.path / "config.json").read_text(encoding="utf-8"))
        labels = len(config.get("id2label") or {}) or config.get("num_labels", 2)
        needed = {"architectures": None, "is_encoder_decoder": None}
        fields = SimpleNamespace(**(needed | config | {"num_labels": labels}))
    except (OSError, ValueError, AttributeError, TypeError):
        return False
    return not unsupported_reason(find_model_kind(version, fields), find_media(fields), request)


def _is_encoder(head: str) -> bool:
    return head.endswith("ForMaskedLM") or (head.endswith("Model") and not head.endswith("LMHeadModel"))


def answering_kinds(request: AnyRequest) -> tuple[ModelKind, ...]:
    """The kinds of model that can answer a request: a choice of two about a query is a score of their pair, too."""
    kinds = _ANSWERED_BY[type(request)]
    is_pair = isinstance(request, Choose) and request.query and len(request.choices) == 2
    return (*kinds, "rerank") if is_pair else kinds


def unsupported_reason(kind: ModelKind, media: Media, request: AnyRequest) -> str:
    """Why a model of a kind that reads such media cannot answer a request, to follow its name; "" if it can."""
    kinds = answering_kinds(request)
    does = describe_kind(kind, media)
    if kind not in kinds:
        required = " or ".join(describe_kind(other, "images" if request.files else "texts") for other in kinds)
        return f"{does}{_FOR[kind]}, and this needs one that {required}"
    if request.files and media == "texts":
        return f"{does}, and this needs one that reads images"
    if not request.files and media == "images":
        return f"{does}, and this is a text. An image is a BLOB, as read_blob('*.png') has it in the column content"
    return ""


def describe_kind(kind: ModelKind, media: Media) -> str:
    """What a model does, to follow its name.

    >>> describe_kind("classify", "images")
    'classifies images'
    """
    if kind == "generate":
        return DOES[kind] + (" about texts and images" if media == "texts and images" else "")
    return DOES[kind] if kind == "rerank" else f"{DOES[kind]} {media}"
