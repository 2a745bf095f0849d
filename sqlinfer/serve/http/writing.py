"""The endpoints that write: chats, and completions of whole prompts."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sqlinfer.serve.http.fields import SAMPLING, Read, read_fields, text, texts
from sqlinfer.serve.http.prompts import chat_request, choices_of, prompt_request, read_messages, read_schema
from sqlinfer.types import Completion, Generate, ModelVersion


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

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.fields = read_fields(body, self.readers, self.required)
        self.requests = self._requests()
        self._id = f"{self.prefix}-{secrets.token_hex(12)}"
        self._created = int(time.time())

    @abstractmethod
    def _requests(self) -> Sequence[Generate]:
        """A request for each choice."""

    @abstractmethod
    def choice(self, index: int, completion: Completion) -> Mapping[str, Any]:
        """A choice of the answer."""

    def answer(self, version: ModelVersion, completions: Sequence[Completion]) -> Mapping[str, Any]:
        """The answer. completions: of the requests, in their order."""
        choices = [self.choice(index, completion) for index, completion in enumerate(completions)]
        return {**self._head(version, self.kind), "choices": choices, "usage": self.usage(completions)}

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

    readers: ClassVar = {**SAMPLING, "model": text, "messages": read_messages, "response_format": read_schema}
    required = ("model", "messages")
    prefix = "chatcmpl"
    kind = "chat.completion"

    def _requests(self) -> Sequence[Generate]:
        return choices_of(chat_request(self.fields), self.fields.get("n", 1))

    def choice(self, index: int, completion: Completion) -> Mapping[str, Any]:
        message = {"role": "assistant", "content": str(completion.output), "refusal": None}
        return {"index": index, "message": message, "finish_reason": completion.finish_reason, "logprobs": None}


class TextCompletion(Writing):
    """/v1/completions"""

    readers: ClassVar = {**SAMPLING, "model": text, "prompt": texts}
    required = ("model", "prompt")
    prefix = "cmpl"
    kind = "text_completion"

    def _requests(self) -> Sequence[Generate]:
        prompts = [prompt_request(prompt, self.fields) for prompt in self.fields["prompt"]]
        return [choice for prompt in prompts for choice in choices_of(prompt, self.fields.get("n", 1))]

    def choice(self, index: int, completion: Completion) -> Mapping[str, Any]:
        written = str(completion.output)
        return {"index": index, "text": written, "finish_reason": completion.finish_reason, "logprobs": None}
