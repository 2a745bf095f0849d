"""The endpoints that write: chats, and completions of whole prompts."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from sqlinfer.serve.http.errors import ApiError
from sqlinfer.serve.http.fields import SAMPLING, Read, flag, integer, read_fields, text, texts
from sqlinfer.serve.http.prompts import chat_request, choices_of, prompt_request, read_messages, read_schema
from sqlinfer.serve.http.submission import Event
from sqlinfer.types import Completion, Generate, ModelVersion, Piece, TokenLogprob


class Writing(ABC):
    """A call that writes, and its answer as JSON."""

    readers: ClassVar[Mapping[str, Read]]
    """Its fields."""
    required: ClassVar[tuple[str, ...]]
    """The fields that it must have."""
    prefix: ClassVar[str]
    """Of the ids of answers."""
    kind: ClassVar[str]
    """The object field of an answer."""
    chunk_kind: ClassVar[str]
    """The object field of a part of it."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.fields = read_fields(body, self.readers, self.required)
        self.requests = self._requests()
        if "stream_options" in self.fields and not self.is_streamed:
            raise ApiError(400, "stream_options needs stream: true", "stream_options")
        self._id = f"{self.prefix}-{secrets.token_hex(12)}"
        self._created = int(time.time())

    @abstractmethod
    def _requests(self) -> Sequence[Generate]:
        """A request for each choice."""

    @abstractmethod
    def choice(self, index: int, completion: Completion) -> Mapping[str, Any]:
        """A choice of the answer."""

    @abstractmethod
    def chunk(self, index: int, piece: Piece, finish_reason: str | None, *, is_first: bool) -> Mapping[str, Any]:
        """A part of a choice; the last has a finish_reason."""

    def answer(self, version: ModelVersion, completions: Sequence[Completion]) -> Mapping[str, Any]:
        """The answer. completions: of the requests, in their order."""
        choices = [self.choice(index, completion) for index, completion in enumerate(completions)]
        return {**self._head(version, self.kind), "choices": choices, "usage": self.usage(completions)}

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is sent while it is written."""
        return bool(self.fields.get("stream"))

    async def chunks(self, version: ModelVersion, events: AsyncIterator[Event]) -> AsyncIterator[Mapping[str, Any]]:
        """The parts of the answer as they come: for each piece, and for what a completion has beyond its pieces."""
        head = self._head(version, self.chunk_kind)
        has_usage = bool(self.fields.get("stream_options", {}).get("include_usage"))
        passed = [(0, 0)] * len(self.requests)  # characters and tokens of each choice
        completions: dict[int, Completion] = {}
        async for index, event in events:
            reason, (num_characters, num_tokens) = None, passed[index]
            if isinstance(event, Completion):
                completions[index], reason = event, event.finish_reason
                piece = Piece(str(event.output)[num_characters:], event.logprobs[num_tokens:])
            else:
                piece = event
            choice = self.chunk(index, piece, reason, is_first=passed[index] == (0, 0))
            passed[index] = num_characters + len(piece.text), num_tokens + len(piece.tokens)
            yield {**head, "choices": [choice], **({"usage": None} if has_usage else {})}
        if has_usage:
            in_order = [completions[index] for index in range(len(completions))]
            yield {**head, "choices": [], "usage": self.usage(in_order)}

    def usage(self, completions: Sequence[Completion]) -> Mapping[str, int]:
        """The tokens of the call; a prompt counts once, however many choices it has."""
        num_choices = self.fields.get("n", 1)
        num_prompt = sum(completion.prompt_tokens for completion in completions[::num_choices])
        num_written = sum(completion.completion_tokens for completion in completions)
        return {
            "prompt_tokens": num_prompt,
            "completion_tokens": num_written,
            "total_tokens": num_prompt + num_written,
        }

    def _head(self, version: ModelVersion, kind: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self.fields["model"],
            "system_fingerprint": version.fingerprint[:16],
        }


class ChatCompletion(Writing):
    """/v1/chat/completions"""

    readers: ClassVar = {
        **SAMPLING,
        "model": text,
        "messages": read_messages,
        "response_format": read_schema,
        "logprobs": flag,
        "top_logprobs": integer(0, 20),
    }
    required = ("model", "messages")
    prefix = "chatcmpl"
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def _requests(self) -> Sequence[Generate]:
        return choices_of(chat_request(self.fields), self.fields.get("n", 1))

    def choice(self, index: int, completion: Completion) -> Mapping[str, Any]:
        message = {"role": "assistant", "content": str(completion.output), "refusal": None}
        logprobs = self._logprobs(completion.logprobs)
        return {"index": index, "message": message, "finish_reason": completion.finish_reason, "logprobs": logprobs}

    def chunk(self, index: int, piece: Piece, finish_reason: str | None, *, is_first: bool) -> Mapping[str, Any]:
        delta = {"role": "assistant"} if is_first else {}
        logprobs = self._logprobs(piece.tokens)
        delta["content"] = piece.text
        return {"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> Mapping[str, Any] | None:
        if not self.fields.get("logprobs"):
            return None
        listed = [
            {
                **_token(token.text, token.logprob),
                "top_logprobs": [_token(likely, logprob) for likely, logprob in token.likeliest],
            }
            for token in tokens
        ]
        return {"content": listed, "refusal": None}


class TextCompletion(Writing):
    """/v1/completions"""

    readers: ClassVar = {**SAMPLING, "model": text, "prompt": texts, "logprobs": integer(0, 20)}
    required = ("model", "prompt")
    prefix = "cmpl"
    kind = chunk_kind = "text_completion"

    def _requests(self) -> Sequence[Generate]:
        prompts = [prompt_request(prompt, self.fields) for prompt in self.fields["prompt"]]
        return [choice for prompt in prompts for choice in choices_of(prompt, self.fields.get("n", 1))]

    def choice(self, index: int, completion: Completion) -> Mapping[str, Any]:
        whole = Piece(str(completion.output), completion.logprobs)
        return self.chunk(index, whole, completion.finish_reason, is_first=True)

    def chunk(self, index: int, piece: Piece, finish_reason: str | None, *, is_first: bool) -> Mapping[str, Any]:  # noqa: ARG002
        logprobs = self._logprobs(piece.tokens)
        return {"index": index, "text": piece.text, "finish_reason": finish_reason, "logprobs": logprobs}

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> Mapping[str, Any] | None:
        if "logprobs" not in self.fields:
            return None
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [dict(token.likeliest) for token in tokens],
        }


def _token(written: str, logprob: float) -> dict[str, Any]:
    return {"token": written, "logprob": logprob, "bytes": None if "\ufffd" in written else list(written.encode())}
