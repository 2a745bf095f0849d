"""Requests to token ids for a model that reads and does not write: the bare text, or the pair (query, text).

Needs a tokenizer and no weights. Knows no torch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence as Series
from dataclasses import dataclass
from typing import Any

from sqlinfer.engine.input.prompts import RENDER_ERRORS, failed
from sqlinfer.engine.model.model_kind import unsupported_reason
from sqlinfer.errors import nearest
from sqlinfer.types import (
    AnyRequest,
    Choose,
    Completion,
    Count,
    CountTokens,
    ModelKind,
    ModelVersion,
    yes_or_no,
)

POSITIONS_AFTER_PADDING = (
    "roberta",
    "xlm-roberta",
    "camembert",
    "mpnet",
    "longformer",
    "xlm-roberta-xl",
    "data2vec-text",
)


@dataclass(frozen=True, slots=True)
class EncoderInput:
    """A request as its model reads it. type_ids: 1 for the tokens of a pair's second text."""

    request: AnyRequest
    ids: list[int]
    type_ids: list[int]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class EncoderLimits:
    """What a model takes. max_tokens: special ones too. labels: a classifier's, in the order of its logits. prompt:
    stands before each text."""

    kind: ModelKind
    max_tokens: int
    vocabulary: int
    labels: tuple[str, ...] = ()
    prompt: str = ""
    is_lower_case: bool = False


class EncoderInputs:
    """Tokenises for one model; a lock guards the tokenizer, which is not safe among threads."""

    def __init__(self, version: ModelVersion, tokenizer: Any, reader: EncoderLimits) -> None:
        self.version = version
        self.reader = reader
        self._known = {*reader.labels, *(choice for label in reader.labels for choice in yes_or_no(label))}
        self._tokenizer = tokenizer
        self._lock = threading.Lock()

    def prepare(self, requests: Series[AnyRequest]) -> list[EncoderInput | Completion]:
        """An input for each request, or the completion of one that needs no model: counted or failed."""
        refusals = [self._refusal(request) for request in requests]
        asked = [request for request, refusal in zip(requests, refusals, strict=True) if not refusal]
        inputs = iter(self._read_all(asked))
        return [failed(r, refusal) if refusal else next(inputs) for r, refusal in zip(requests, refusals, strict=True)]

    def count(self, requests: Series[AnyRequest]) -> list[int]:
        """Tokens that the model reads of each request; 0 for one that cannot be asked."""
        return [len(o.ids) if isinstance(o, EncoderInput) else o.prompt_tokens for o in self.prepare(requests)]

    def _refusal(self, request: AnyRequest) -> str:
        """Why a model of this kind cannot answer a request; "" if it can."""
        labels, model = self.reader.labels, f"model {self.version}"
        if wrong := unsupported_reason(self.reader.kind, request):
            return f"{model} {wrong}"
        if self.reader.kind != "classify" or not isinstance(request, Choose):
            return ""
        unknown = [choice for choice in request.choices if choice not in self._known]
        if not unknown:
            return ""
        label, _, said = unknown[0].rpartition(": ")
        named = label if said in ("yes", "no") else unknown[0]
        return f"{model} does not know the label {named!r}. {nearest(named, labels)}"

    def _read_all(self, requests: Series[AnyRequest]) -> list[EncoderInput | Completion]:
        """One call of the tokenizer for the whole window; row by row only if that fails."""
        try:
            return self._read(requests)
        except RENDER_ERRORS:
            return [self._read_one(request) for request in requests]

    def _read_one(self, request: AnyRequest) -> EncoderInput | Completion:
        try:
            return self._read([request])[0]
        except UnicodeEncodeError as error:
            where = f"U+{ord(error.object[error.start]):04X} at character {error.start}"
            return failed(request, f"the text is not valid Unicode: half of a surrogate pair, {where}")
        except RENDER_ERRORS as error:
            return failed(request, f"the text could not be tokenised: {type(error).__name__}: {error}")

    def _read(self, requests: Series[AnyRequest]) -> list[EncoderInput | Completion]:
        for request in requests:
            request.text.encode()  # the tokenizer's own error for a lone surrogate names neither text nor place
        counted = [r for r in requests if isinstance(r, CountTokens)]
        asked = [r for r in requests if not isinstance(r, CountTokens)]
        with self._lock:
            counts = iter(self._encode([r.text for r in counted], add_special_tokens=False))
            inputs = iter(self._encode(*self._texts(asked), truncation=True, max_length=self.reader.max_tokens))
        return [
            self._counted(r, next(counts)) if isinstance(r, CountTokens) else self._input(r, next(inputs))
            for r in requests
        ]

    def _texts(self, requests: Series[AnyRequest]) -> list[list[str]]:
        """The first texts and, for a model that reads pairs, the second ones."""
        texts = [self.reader.prompt + request.text for request in requests]
        if self.reader.is_lower_case:
            texts = [text.lower() for text in texts]
        if self.reader.kind != "rerank":
            return [texts]
        return [[request.query for request in requests if isinstance(request, Choose)], texts]

    def _encode(self, *texts: list[str], **options: Any) -> list[Any]:
        """The tokenizer's encodings; nothing in a row's text is a special token. Holds the lock."""
        if not texts[0]:
            return []
        encodings: list[Any] = self._tokenizer(*texts, split_special_tokens=True, verbose=False, **options).encodings
        return encodings

    def _counted(self, request: AnyRequest, encoding: Any) -> Completion:
        return Completion(request, Count(len(encoding.ids)), prompt_tokens=len(encoding.ids))

    def _input(self, request: AnyRequest, encoding: Any) -> EncoderInput | Completion:
        ids, limit = encoding.ids, self.reader.max_tokens
        if not ids:
            return failed(request, "the text is empty, and the model reads at least one token")
        if encoding.overflowing and getattr(request, "overflow", "") == "error":
            remedy = "Shorten it, for example left(text, 1000), or let it be cut (overflow: truncate)"
            return failed(request, f"the text has more than the {limit} tokens that {self.version} reads. {remedy}")
        if max(ids) >= self.reader.vocabulary:
            what = f"the tokenizer of model {self.version} gives token {max(ids)}, and the model knows "
            return failed(
                request, f"{what}{self.reader.vocabulary} tokens; tokenizer and weights do not belong together"
            )
        return EncoderInput(request, ids, encoding.type_ids, bool(encoding.overflowing))


def first_position(config: Any) -> int:
    """The position of a text's first token: RoBERTa and its kin count theirs from the padding's id."""
    return int(config.pad_token_id) + 1 if config.model_type in POSITIONS_AFTER_PADDING else 0
