"""A model's tokenizer: texts and chats to token ids, and back; safe among threads.

Knows no requests and no torch.
"""

from __future__ import annotations

import re
import threading
from datetime import date
from typing import Any

PINNED_DATE = date(2024, 7, 26)
"""Today's date to every chat template, so that kept answers are those of their prompts: the one that Llama's have."""


class Tokenizer:
    """A tokenizer of transformers behind a lock, as it is not safe among threads.

    is_chat: whether prompts are chats, in which only the template's own special tokens are special.
    is_in_parts: whether the chat template takes a message as a list of texts and images.
    """

    def __init__(self, tokenizer: Any, is_chat: bool, is_in_parts: bool = False) -> None:
        self.is_chat = is_chat
        self._is_in_parts = is_in_parts
        self._tokenizer = tokenizer
        self._lock = threading.RLock()
        added = tokenizer.added_tokens_decoder.items()
        self._added = frozenset(token_id for token_id, token in added if str(token).strip())  # not runs of spaces

    @property
    def begin_token(self) -> int | None:
        """A token that begins a text, if the model has one."""
        starts = (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id)
        return next((token for token in starts if token is not None), None)

    def decode(self, token_ids: list[int]) -> str:
        """The text of token ids, without special tokens."""
        with self._lock:
            return str(self._tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def after(self, mark: str, token_ids: list[int]) -> str | None:
        """The text of what follows a mark, which may be a special token; None if token ids do not have it."""
        ids = self.encode([mark])[0]
        if len(ids) == 1:
            return self.decode(token_ids[token_ids.index(ids[0]) + 1 :]) if ids[0] in token_ids else None
        _, found_mark, text = self.decode(token_ids).partition(mark)
        return text if found_mark else None

    def apply_chat_template(
        self, chat: list[tuple[str, str]], *, add_generation_prompt: bool, num_images: int = 0
    ) -> str:
        """A chat of (role, content) as the model's template writes it, without thinking if that can be chosen.

        num_images: before the content of the last message.
        """
        messages: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in chat]
        for message in messages if self._is_in_parts else ():
            images = [{"type": "image"}] * (num_images if message is messages[-1] else 0)
            message["content"] = [*images, {"type": "text", "text": message["content"]}]
        with self._lock:
            _pin_date(self._tokenizer.get_chat_template())
            return str(
                self._tokenizer.apply_chat_template(
                    messages,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    enable_thinking=False,
                )
            )

    def encode(self, texts: list[str], as_plain_text: bool = False) -> list[list[int]]:
        """Token ids of texts. as_plain_text: no special token is recognised in them, or added."""
        is_written = not as_plain_text and not self.is_chat
        return self._encode(texts, add_special_tokens=is_written, split_special_tokens=as_plain_text or is_written)

    def encode_prompts(self, texts: list[str]) -> list[list[int]]:
        """Token ids of texts that are whole prompts: the model's special tokens are around them and, of a model for
        chats, may be spelled in them."""
        return self._encode(texts, add_special_tokens=True, split_special_tokens=not self.is_chat)

    def _encode(self, texts: list[str], *, add_special_tokens: bool, split_special_tokens: bool) -> list[list[int]]:
        if not texts:
            return []
        for text in texts:
            text.encode()  # the tokenizer's own error for a lone surrogate names neither text nor position
        with self._lock:
            ids: list[list[int]] = self._tokenizer(
                texts,
                add_special_tokens=add_special_tokens,
                split_special_tokens=split_special_tokens,
                verbose=False,
            )["input_ids"]
        return ids

    def encode_plainly(self, text: str) -> list[int]:
        """Token ids of a text that spells added tokens, none of which is recognised, special or not."""
        ids = self.encode([text], as_plain_text=True)[0]
        if len(text) <= 1 or self._added.isdisjoint(ids):
            return ids
        return self.encode_plainly(text[:1]) + self.encode_plainly(text[1:])

    def added_only(self, token_ids: list[int]) -> list[int]:
        """Of token ids those that were added to the vocabulary, special or not: texts may spell them."""
        return [token for token in token_ids if token in self._added]

    def added_spans(self, text: str) -> list[tuple[int, int]]:
        """Where a text spells added tokens, in characters."""
        if not self._tokenizer.is_fast:
            spellings = sorted((str(self._tokenizer.added_tokens_decoder[i]) for i in self._added), key=len)
            return [match.span() for match in re.finditer("|".join(map(re.escape, reversed(spellings))), text)]
        with self._lock:
            encoding = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        spans = zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
        return [(start, end) for token, (start, end) in spans if token in self._added and end > start]

    def token_starts(self, text: str) -> list[int]:
        """The character offset of each token of a text; estimated if the tokenizer gives none."""
        if not self._tokenizer.is_fast:
            num_tokens = len(self.encode([text], as_plain_text=True)[0])
            return [len(text) * i // num_tokens for i in range(num_tokens)]
        return [start for start, _ in self._offsets(text)]

    def truncate(self, text: str, excess: int) -> str:
        """Text without its last excess tokens, and at least one character shorter."""
        if not self._tokenizer.is_fast:
            num_tokens = max(len(self.encode([text], as_plain_text=True)[0]), excess)
            return text[: min(len(text) - 1, len(text) * (num_tokens - excess) // num_tokens)]
        offsets = self._offsets(text)
        end = offsets[-excess][0] if excess < len(offsets) else 0
        return text[: min(end, len(text) - 1)]

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """The character span of each token of a text."""
        with self._lock:
            encoding = self._tokenizer(
                text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, verbose=False
            )
        offsets: list[tuple[int, int]] = encoding["offset_mapping"]
        return offsets


def _pin_date(template: str) -> None:
    """Let a chat template see PINNED_DATE in place of today's date."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    _compile_jinja_template(template).globals["strftime_now"] = PINNED_DATE.strftime
