"""A tokenizer as llguidance takes it: the bytes that each token writes. Knows no schemas and no torch."""

from __future__ import annotations

from typing import Any

from llguidance import LLTokenizer, TokenizerWrapper

from sqlinfer.errors import first_line


def load_token_bytes(tokenizer: Any, vocabulary: int, eos: list[int]) -> LLTokenizer:
    """llguidance's tokenizer for a tokenizer of transformers. Raises ValueError if that is not understood.

    vocabulary: how many tokens the model knows. eos: those that end an answer.
    """
    from llguidance.hf import from_tokenizer  # loads transformers

    try:
        return from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=eos)
    except Exception:  # noqa: BLE001 - it knows a few kinds of decoder; any decoder can be tried out
        pass
    try:
        return LLTokenizer(
            TokenizerWrapper(_DecodedTokens(tokenizer, vocabulary, eos)), n_vocab=vocabulary, eos_token=eos
        )
    except Exception as error:
        raise ValueError(
            f"the model cannot follow a schema: its tokenizer is not understood ({first_line(error)})"
        ) from error


class _DecodedTokens:
    """What a tokenizer decodes each of its tokens to after another one, under the names that llguidance wants."""

    def __init__(self, tokenizer: Any, vocabulary: int, eos: list[int]) -> None:
        self._tokenizer = tokenizer
        special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
        self.eos_token_id = eos[0]
        self.bos_token_id = tokenizer.bos_token_id
        self.special_token_ids = sorted(special)
        known = range(min(vocabulary, len(tokenizer)))
        anchor = next(token for token in known if token not in special and self._decode([token]).strip())
        before = self._decode([anchor])
        texts = [
            self._decode([anchor, token]).removeprefix(before) if token not in special else None for token in known
        ]
        names = [str(tokenizer.convert_ids_to_tokens(i)) if text is None else text for i, text in enumerate(texts)]
        self.tokens = [name.encode() for name in names] + [b""] * (vocabulary - len(names))
        self._by_bytes = {self.tokens[i]: i for i in reversed(known) if i not in special and self.tokens[i]}
        self._longest = max(map(len, self._by_bytes))

    def __call__(self, text: str | bytes) -> list[int]:
        """The longest tokens that write a text to the byte, where the tokenizer itself may put a space before it."""
        left, token_ids = text.encode() if isinstance(text, str) else text, []
        while left:
            size = next((n for n in range(self._longest, 0, -1) if left[:n] in self._by_bytes), 0)
            if size:
                token_ids.append(self._by_bytes[left[:size]])
            left = left[max(size, 1) :]
        return token_ids

    def _decode(self, token_ids: list[int]) -> str:
        return str(self._tokenizer.decode(token_ids, clean_up_tokenization_spaces=False))
