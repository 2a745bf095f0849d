"""A model's tokenizer: texts and chats to token ids, and back; safe among threads.

Knows no requests and no torch.
"""

from __future__ import annotations

import threading
from typing import Any


class Tokenizer:
    """A tokenizer of transformers behind a lock, as it is not safe among threads.

    is_chat: whether prompts are chats, in which only the template's own special tokens are special.
    """

    def __init__(self, tokenizer: Any, is_chat: bool) -> None:
        self.is_chat = is_chat
        self._tokenizer = tokenizer
        self._lock = threading.RLock()
        self._special = [token for token in tokenizer.all_special_tokens if token]
        self._special_starts = {token[0] for token in self._special}

    @property
    def begin_token(self) -> int | None:
        """A token that begins a text, if the model has one."""
        starts = (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id)
        return next((token for token in starts if token is not None), None)

    def decode(self, token_ids: list[int]) -> str:
        """The text of token ids, without special tokens."""
        with self._lock:
            return str(self._tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def chat(self, message: str) -> str:
        """A chat with this message of the user, up to where the answer begins."""
        with self._lock:
            return str(
                self._tokenizer.apply_chat_template(
                    [{"role": "user", "content": message}],
                    tokenize=False,
                    add_generation_prompt=True,
                    enable_thinking=False,
                )
            )

    def encode(self, texts: list[str], as_plain_text: bool = False) -> list[list[int]]:
        """Token ids of texts. as_plain_text: no special token is recognised in them, or added."""
        if not texts:
            return []
        for text in texts:
            text.encode()  # the tokenizer's own error for a lone surrogate names neither text nor position
        with self._lock:
            ids: list[list[int]] = self._tokenizer(
                texts,
                add_special_tokens=not as_plain_text and not self.is_chat,
                split_special_tokens=as_plain_text or not self.is_chat,
                verbose=False,
            )["input_ids"]
        return ids

    def has_special_token(self, text: str) -> bool:
        """Whether a text spells one of the model's special tokens, with which it could end its own turn of a chat."""
        return any(c in text for c in self._special_starts) and any(token in text for token in self._special)

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
