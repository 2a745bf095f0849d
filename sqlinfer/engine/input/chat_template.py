"""A model's chat template: chats of one message, in which the message is plain text whatever it spells.

Knows no requests and no torch.
"""

from __future__ import annotations

import re
from functools import cached_property

from sqlinfer.engine.input.tokenizer import Tokenizer

PLACEHOLDERS = range(0xE000, 0xF8FF)  # characters that stand for nothing
PLACEHOLDER = chr(PLACEHOLDERS[0])
_OPENING_TAG = re.compile(r"[<\[](\w+)[>\]]\s*$")


class ChatTemplate:
    """Renders and tokenises chats of one message of the user, up to where the answer begins."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def render(self, message: str) -> str:
        """The chat as text."""
        return self._tokenizer.apply_chat_template([("user", message)], add_generation_prompt=True)

    def encode(self, messages: list[str], suffixes: list[str]) -> list[list[int]]:
        """Token ids of chats, each followed by a suffix; what a message spells is never a token of the template."""
        rendered = [self.render(message) + suffix for message, suffix in zip(messages, suffixes, strict=True)]
        encoded = self._tokenizer.encode(rendered)
        return [
            ids if self._tokenizer.added_only(ids) == self._own_tokens else self._encode_apart(message, suffix, ids)
            for message, suffix, ids in zip(messages, suffixes, encoded, strict=True)
        ]

    @cached_property
    def closing_tag(self) -> str:
        """What ends the model's thinking, if its template leaves it open where the answer begins; else "".

        A tag that encloses finished answers, too, is no thinking.
        """
        try:
            tail = self.render(PLACEHOLDER).rpartition(PLACEHOLDER)[2]
            opened = _OPENING_TAG.search(tail)
            chat = [("user", "?"), ("assistant", PLACEHOLDER)]
            finished = self._tokenizer.apply_chat_template(chat, add_generation_prompt=False)
        except Exception:  # noqa: BLE001 - a template may raise anything for a chat that it does not expect
            return ""
        if opened is None or finished.partition(PLACEHOLDER)[0].rstrip().endswith(opened[0].rstrip()):
            return ""
        return f"{opened[0][0]}/{opened[1]}{opened[0].rstrip()[-1]}"

    @cached_property
    def _own_tokens(self) -> list[int] | None:
        """The added tokens that the template itself writes, in order; None if it refuses a chat of one word."""
        try:
            return self._tokenizer.added_only(self._tokenizer.encode([self.render(PLACEHOLDER)])[0])
        except Exception:  # noqa: BLE001 - a template may raise anything
            return None

    def _encode_apart(self, message: str, suffix: str, ids: list[int]) -> list[int]:
        """Token ids of a chat in which what the message spells of added tokens is tokenized apart, as plain text."""
        spans = self._tokenizer.added_spans(message)
        if not spans:
            return ids  # the template writes other tokens for other messages
        starts, ends = [0, *(end for _, end in spans)], [*(start for start, _ in spans), len(message)]
        mark = next(mark for mark in map(chr, PLACEHOLDERS) if mark not in message)
        hidden = mark.join(message[start:end] for start, end in zip(starts, ends, strict=True))
        first, *rest = (self.render(hidden) + suffix).split(mark)
        if not rest:
            raise ValueError("the text spells special tokens of the model, and its chat template changes them")
        encoded = self._tokenizer.encode([first])[0]
        for i, part in enumerate(rest):  # a template may write a message more than once
            start, end = spans[i % len(spans)]
            encoded += self._tokenizer.encode_plainly(message[start:end]) + self._tokenizer.encode([part])[0]
        return encoded
