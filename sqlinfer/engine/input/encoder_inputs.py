"""Requests to the token ids of an encoder's input: the bare text, or the pair (query, text).

Needs a tokenizer and no weights. Knows no torch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence as Series
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlinfer.engine.model.model_kind import Media, unsupported_reason
from sqlinfer.engine.sequence import failed
from sqlinfer.errors import first_line, nearest
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

if TYPE_CHECKING:
    from sqlinfer.engine.model.probe import PositionTable


@dataclass(frozen=True, slots=True)
class EncoderInput:
    """A tokenized request.

    request: the request.
    ids: its token ids.
    type_ids: 1 for the tokens of a pair's second text, else 0.
    truncated: whether tokens were cut off.
    """

    request: AnyRequest
    ids: list[int]
    type_ids: list[int]
    truncated: bool = False

    @property
    def num_tokens(self) -> int:
        """Tokens that the model reads."""
        return len(self.ids)

    @property
    def description(self) -> str:
        """What it is, for messages."""
        return f"text of {len(self.ids)} tokens"


@dataclass(frozen=True, slots=True)
class EncoderLimits:
    """What an encoder takes.

    kind: what the model is for. media: what it reads.
    max_tokens: of a text, special tokens counted.
    vocabulary: token ids are below it.
    labels: a classifier's, in the order of its logits.
    prompt: precedes each text.
    is_lower_case: whether texts are turned to lower case.
    """

    kind: ModelKind
    max_tokens: int
    vocabulary: int
    labels: tuple[str, ...] = ()
    prompt: str = ""
    is_lower_case: bool = False
    media: Media = "texts"


class EncoderInputs:
    """Tokenises the inputs of one model; a lock guards the tokenizer, which is not safe among threads.

    version: the model.
    limits: what it takes.
    """

    def __init__(self, version: ModelVersion, tokenizer: Any, limits: EncoderLimits) -> None:
        self.version = version
        self.limits = limits
        self._choices = {*limits.labels, *(choice for label in limits.labels for choice in yes_or_no(label))}
        self._tokenizer = tokenizer
        self._lock = threading.Lock()

    def prepare(self, requests: Series[AnyRequest]) -> list[EncoderInput | Completion]:
        """An input for each request, or the completion of one that needs no model: counted or failed."""
        reasons = [self._unsupported_reason(request) for request in requests]
        supported = [request for request, reason in zip(requests, reasons, strict=True) if not reason]
        inputs = iter(self._tokenize_all(supported))
        return [failed(r, reason) if reason else next(inputs) for r, reason in zip(requests, reasons, strict=True)]

    def fit(self, positions: PositionTable | None) -> bool:
        """Bound texts by the model's table of positions, if it has one; whether that changes the bound."""
        before = self.limits.max_tokens
        if positions is not None:
            self.limits = replace(self.limits, max_tokens=min(before, positions.num_tokens))
        return before != self.limits.max_tokens

    def count(self, requests: Series[AnyRequest]) -> list[int]:
        """Tokens of each request's input; 0 for one that fails."""
        return [len(p.ids) if isinstance(p, EncoderInput) else p.prompt_tokens for p in self.prepare(requests)]

    def _unsupported_reason(self, request: AnyRequest) -> str:
        """Why the model cannot answer a request; "" if it can."""
        labels, model = self.limits.labels, f"model {self.version}"
        if reason := unsupported_reason(self.limits.kind, self.limits.media, request):
            return f"{model} {reason}"
        if self.limits.kind != "classify" or not isinstance(request, Choose):
            return ""
        unknown = [choice for choice in request.choices if choice not in self._choices]
        if not unknown:
            return ""
        label, _, answer = unknown[0].rpartition(": ")
        named = label if answer in ("yes", "no") else unknown[0]
        return f"{model} does not know the label {named!r}. {nearest(named, labels)}"

    def _tokenize_all(self, requests: Series[AnyRequest]) -> list[EncoderInput | Completion]:
        """One call of the tokenizer for all requests; row by row only if that fails."""
        try:
            return self._tokenize(requests)
        except Exception:  # noqa: BLE001 - tokenizers raise errors of any kind
            return [self._tokenize_one(request) for request in requests]

    def _tokenize_one(self, request: AnyRequest) -> EncoderInput | Completion:
        try:
            return self._tokenize([request])[0]
        except UnicodeEncodeError as error:
            where = f"U+{ord(error.object[error.start]):04X} at character {error.start}"
            return failed(request, f"the text is not valid Unicode: half of a surrogate pair, {where}")
        except Exception as error:  # noqa: BLE001 - of its tokenizer
            return failed(request, f"the text could not be tokenized: {type(error).__name__}: {first_line(error)}")

    def _tokenize(self, requests: Series[AnyRequest]) -> list[EncoderInput | Completion]:
        for request in requests:
            request.text.encode()  # the tokenizer's own error for a lone surrogate names neither text nor position
        counted = [r for r in requests if isinstance(r, CountTokens)]
        others = [r for r in requests if not isinstance(r, CountTokens)]
        with self._lock:
            counts = iter(self._encode([r.text for r in counted], add_special_tokens=False))
            inputs = iter(self._encode(*self._texts(others), truncation=True, max_length=self.limits.max_tokens))
        return [
            self._counted(r, next(counts)) if isinstance(r, CountTokens) else self._input(r, next(inputs))
            for r in requests
        ]

    def _texts(self, requests: Series[AnyRequest]) -> list[list[str]]:
        """The first texts and, for a reranker, the second ones."""
        texts = [self.limits.prompt + request.text for request in requests]
        if self.limits.is_lower_case:
            texts = [text.lower() for text in texts]
        if self.limits.kind != "rerank":
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
        ids, limit = encoding.ids, self.limits.max_tokens
        if not ids:
            return failed(request, "the text is empty, and the model reads at least one token")
        if encoding.overflowing and getattr(request, "overflow", "") == "error":
            remedy = "Shorten it, for example left(text, 1000), or let it be cut (overflow: truncate)"
            return failed(request, f"the text has more than the {limit} tokens that {self.version} reads. {remedy}")
        if max(ids) >= self.limits.vocabulary:
            problem = f"the tokenizer of model {self.version} gives token {max(ids)}, and the model has "
            remedy = "tokenizer and weights do not match"
            return failed(request, f"{problem}{self.limits.vocabulary} tokens; {remedy}")
        return EncoderInput(request, ids, encoding.type_ids, bool(encoding.overflowing))
