"""A model's chat template: chats in which the messages are plain text whatever they spell.

Knows no requests and no torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import cycle

from sqlinfer.engine.input.tokenizer import Tokenizer

PLACEHOLDERS = range(0xE000, 0xF8FF)  # characters that stand for nothing
PLACEHOLDER = chr(PLACEHOLDERS[0])
Chat = Sequence[tuple[str, str]]
"""Messages, each with its role."""
_OPENING_TAG = re.compile(r"[<\[](\w+)[>\]]\s*$")


class ChatTemplate:
    """Renders and tokenises chats, up to where the answer begins."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._own_tokens = lru_cache(maxsize=64)(self._find_own_tokens)

    def render(self, chat: Chat, num_images: int = 0) -> str:
        """The chat as text. num_images: before its last message."""
        return self._tokenizer.apply_chat_template(list(chat), add_generation_prompt=True, num_images=num_images)

    def encode(self, chats: list[Chat], suffixes: list[str]) -> list[list[int]]:
        """Token ids of chats, each followed by a suffix; what a message spells is never a token of the template."""
        rendered = [self.render(chat) + suffix for chat, suffix in zip(chats, suffixes, strict=True)]
        encoded = self._tokenizer.encode(rendered)
        return [
            ids
            if self._tokenizer.added_only(ids) == self._own_tokens(tuple(role for role, _ in chat))
            else self._encode_apart(chat, suffix, ids)
            for chat, suffix, ids in zip(chats, suffixes, encoded, strict=True)
        ]

    @cached_property
    def closing_tag(self) -> str:
        """What ends the model's thinking, if its template leaves it open where the answer begins; else "".

        A tag that encloses finished answers, too, is no thinking.
        """
        try:
            tail = self.render([("user", PLACEHOLDER)]).rpartition(PLACEHOLDER)[2]
            opened = _OPENING_TAG.search(tail)
            chat = [("user", "?"), ("assistant", PLACEHOLDER)]
            finished = self._tokenizer.apply_chat_template(chat, add_generation_prompt=False)
        except Exception:  # noqa: BLE001 - a template may raise anything for a chat that it does not expect
            return ""
        if opened is None or finished.partition(PLACEHOLDER)[0].rstrip().endswith(opened[0].rstrip()):
            return ""
        return f"{opened[0][0]}/{opened[1]}{opened[0].rstrip()[-1]}"

    def _find_own_tokens(self, roles: tuple[str, ...]) -> list[int] | None:
        """The added tokens that the template itself writes around messages of these roles, in order; None if it
        refuses a chat of one word each."""
        try:
            chat = [(role, PLACEHOLDER) for role in roles]
            return self._tokenizer.added_only(self._tokenizer.encode([self.render(chat)])[0])
        except Exception:  # noqa: BLE001 - a template may raise anything
            return None

    def _encode_apart(self, chat: Chat, suffix: str, ids: list[int]) -> list[int]:
        """Token ids of a chat in which what messages spell of added tokens is tokenized apart, as plain text."""
        free = (mark for mark in map(chr, PLACEHOLDERS) if all(mark not in content for _, content in chat))
        hidden, spelled = [], {}
        for role, content in chat:
            spans, text = self._tokenizer.added_spans(content), content
            if spans:
                mark, starts = next(free), [0, *(end for _, end in spans)]
                ends = [*(start for start, _ in spans), len(content)]
                text = mark.join(content[start:end] for start, end in zip(starts, ends, strict=True))
                spelled[mark] = cycle(content[start:end] for start, end in spans)  # a template may write it twice
            hidden.append((role, text))
        if not spelled:
            return ids  # the template writes other tokens for other messages
        parts = re.split(f"([{''.join(spelled)}])", self.render(hidden) + suffix)
        if len(parts) == 1:
            raise ValueError("the text spells special tokens of the model, and its chat template changes them")
        encoded: list[int] = []
        for part in parts:
            if part in spelled:
                encoded += self._tokenizer.encode_plainly(next(spelled[part]))
            else:
                encoded += self._tokenizer.encode([part])[0]
        return encoded
