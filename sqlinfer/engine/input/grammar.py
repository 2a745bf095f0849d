"""JSON schemas as grammars that an answer's tokens must follow: which tokens may come next, and which must.

Built on llguidance. Knows no torch: masks are bits in numpy arrays.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from llguidance import LLExecutor, LLMatcher, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask, fill_next_token_bitmask_par

_WRITTEN: Any = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": '"\\nrt',
}
"""JSON as json.dumps writes it, and no escape that may stand for half of a character."""
_SLACK = 24  # tokens: a number goes on to its own end
_LONGEST_CLOSE = 2000  # tokens
_NESTED = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties")


def compile_schema(schema: str) -> str:
    """The grammar of a JSON schema. Raises ValueError that names the place in it that is not understood, or that
    nothing satisfies."""
    try:
        read = json.loads(schema)
    except ValueError as error:
        raise ValueError(f"the schema is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("the schema is nested too deeply") from None
    if isinstance(read, bool) or not isinstance(read, dict):
        raise ValueError(f"a JSON schema is an object, as {{'type': 'string'}}, not {schema[:60]}")
    grammar: str = LLMatcher.grammar_from_json_schema(schema, overrides=_WRITTEN)
    if said := _fault(grammar):
        place = _place(read, read, ()) or "the schema"
        raise ValueError(f"{place}: {' '.join(said.split())}")
    return grammar


def _fault(grammar: str) -> str:
    """What llguidance has against a grammar; it panics where it would cut a message inside of a character."""
    try:
        said: str = LLMatcher.validate_grammar(grammar)
    except BaseException as panic:
        if type(panic).__name__ != "PanicException":
            raise
        said = f"it is not understood ({panic})"
    return said


def _place(schema: Any, root: dict[str, Any], path: tuple[str, ...]) -> str:
    """The innermost part of a schema that is refused on its own, as `properties.price`; "" if the whole is meant."""
    parts: list[tuple[str, Any]] = [
        (key, name) for key in _NESTED if isinstance(schema.get(key), dict) for name in schema[key]
    ]
    parts += [(key, i) for key in _LISTED if isinstance(schema.get(key), list) for i in range(len(schema[key]))]
    inner: list[tuple[tuple[str, ...], Any]] = [((key, str(at)), schema[key][at]) for key, at in parts]
    inner += [((key,), schema[key]) for key in _SINGLE if key in schema]
    definitions = {key: root[key] for key in ("$defs", "definitions") if key in root}
    for where, part in inner:
        if isinstance(part, dict):
            alone = part if path or where[0] in definitions else {**definitions, **part}
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(alone), overrides=_WRITTEN)
            if _fault(grammar):
                return _place(part, root, (*path, *where)) or ".".join((*path, *where))
    return ".".join(path)


class Grammars:
    """The grammars of one model's tokenizer; safe among threads."""

    def __init__(self, tokenizer: Any, vocabulary: int, eos: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._eos = sorted(eos)
        self._lock = threading.Lock()
        self._words: VocabularyMasks | None = None
        self._read = lru_cache(maxsize=256)(self._compile)

    def constraint(self, schema: str, max_tokens: int) -> Constraint:
        """What holds an answer of at most max_tokens to a schema. Raises ValueError."""
        with self._lock:
            grammar = self._read(schema)
        if max_tokens < grammar.shortest:
            least = f"an answer to the schema has at least {grammar.shortest}"
            raise ValueError(f"max_tokens is {max_tokens}, and {least}; ask for more")
        return Constraint(grammar, max_tokens)

    def _compile(self, schema: str) -> Grammar:
        grammar = compile_schema(schema)
        if self._words is None:
            from llguidance.hf import from_tokenizer  # loads transformers

            if not self._tokenizer.is_fast or not self._eos:
                raise ValueError("the model cannot be held to a schema: its tokenizer is slow or has no end token")
            self._words = VocabularyMasks(
                from_tokenizer(self._tokenizer, n_vocab=self._vocabulary, eos_token=self._eos)
            )
        return Grammar(grammar, self._words)


class VocabularyMasks:
    """What the tokens of a vocabulary say, as sets of tokens: bits, as llguidance has them.

    quotes, nulls, commas, opens: tokens that begin so. closes: those that do nothing else, or end the answer.
    """

    def __init__(self, tokenizer: LLTokenizer) -> None:
        self.tokenizer = tokenizer
        texts = [tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size)]
        eos = set(tokenizer.eos_tokens)
        self.quotes = self._bits([text[:1] == b'"' for text in texts])
        self.closes = self._bits([i in eos or (bool(t) and not t.strip(b"]}")) for i, t in enumerate(texts)])
        self.nulls = self._bits([text[:1] == b"n" for text in texts])
        self.commas = self._bits([text[:1] == b"," for text in texts])
        self.opens = self._bits([text[:1] in (b"{", b"[", b'"') for text in texts])

    def _bits(self, chosen: list[bool]) -> np.ndarray:
        words = allocate_token_bitmask(1, len(chosen))[0]
        packed = np.packbits(np.array(chosen, dtype=bool), bitorder="little")
        bits = np.zeros(words.nbytes, dtype=np.uint8)
        bits[: len(packed)] = packed
        return bits.view(np.int32)


class Grammar:
    """What answers to one schema may look like. reserve: tokens that are enough to bring any answer to its end."""

    def __init__(self, grammar: str, words: VocabularyMasks) -> None:
        self.words = words
        self._first = LLMatcher(words.tokenizer, grammar, log_level=0)
        if self._first.is_error():
            raise ValueError(f"the model cannot write an answer to the schema: {self._first.get_error()}")
        self.shortest, self.reserve = self._measure()

    def begin(self) -> LLMatcher:
        """A matcher at the beginning of an answer."""
        return self._first.deep_copy()

    def _measure(self) -> tuple[int, int]:
        """Tokens of the shortest answer, and of an answer that opens what it can and closes it at once."""
        least = self._walk(())
        if least is None:
            raise ValueError("the model cannot write an answer to the schema in its tokens, or none is short")
        most = self._walk((self.words.opens,)) or least
        return least, max(least, most) + most // 4 + _SLACK

    def _walk(self, preferred: tuple[np.ndarray, ...]) -> int | None:
        """Tokens of an answer that is closed as soon as it can be; None if that takes too many or leads nowhere."""
        constraint = Constraint(self, _LONGEST_CLOSE)
        tokens: list[int] = []
        while len(tokens) < _LONGEST_CLOSE:
            mask = allocate_token_bitmask(1, self.words.tokenizer.vocab_size)
            fill_next_token_bitmask(constraint.matcher, mask, 0)
            allowed = constraint.closing(mask[0], tokens, preferred)
            found = np.flatnonzero(np.unpackbits(allowed.view(np.uint8), bitorder="little"))
            if not len(found):
                return None
            tokens.append(int(found[-1 if preferred else 0]))
            tokens += constraint.advance(tokens[-1])
            if constraint.is_complete:
                return len(tokens)
        return None


class Constraint:
    """One answer on its way through its grammar. is_cut: whether it was brought to its end as its tokens ran out."""

    def __init__(self, grammar: Grammar, max_tokens: int) -> None:
        self.grammar = grammar
        self.is_cut = False
        self._max_tokens = max_tokens
        self._matcher: LLMatcher | None = None

    @property
    def matcher(self) -> LLMatcher:
        """llguidance's state of this answer."""
        if self._matcher is None:
            self._matcher = self.grammar.begin()
        return self._matcher

    def restart(self) -> None:
        """Begin again."""
        self._matcher = None
        self.is_cut = False

    def allowed(self, mask: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
        """Of the tokens that the grammar allows those that may come next: all, until the rest is needed to close."""
        left = self._max_tokens - len(tokens)
        close = self.grammar.reserve + self._bytes(tokens).count(b"{") if left <= self._max_tokens // 2 else 0
        if left > close:
            return mask
        self.is_cut = True
        return self.closing(mask, tokens)

    def advance(self, token: int) -> list[int]:
        """Take a token that was allowed; the tokens that must follow it, which are taken too."""
        self.matcher.consume_token(token)
        forced: list[int] = [] if self.matcher.is_stopped() else self.matcher.compute_ff_tokens()
        if forced:
            self.matcher.consume_tokens(forced)
        return forced

    @property
    def is_complete(self) -> bool:
        """Whether the answer is at its end: nothing may follow."""
        return self.matcher.is_stopped() and not self.matcher.is_error()

    @property
    def may_end(self) -> bool:
        """Whether what is there is an answer already."""
        return not self.matcher.is_error() and self.matcher.is_accepting()

    def text(self, tokens: Sequence[int]) -> str:
        """The answer that tokens say."""
        return self._bytes(tokens).decode("utf-8", "replace")

    def closing(self, mask: np.ndarray, tokens: Sequence[int], preferred: tuple[np.ndarray, ...] = ()) -> np.ndarray:
        """Of the allowed tokens those that bring the answer to its end soonest: texts and lists are cut, what may be
        null is, and a number goes on as the model wants."""
        words = self.grammar.words
        said = self._bytes(tokens)
        in_text = _is_in_text(said)
        ways = (words.quotes,) if in_text else (*preferred, words.closes, words.nulls, words.commas)
        if not in_text and (said[-1:].isdigit() or said[-1:] in (b"-", b".")):
            return mask
        for way in ways:
            allowed: np.ndarray = mask & way
            if allowed.any():
                return allowed
        return mask

    def _bytes(self, tokens: Sequence[int]) -> bytes:
        tokenizer = self.grammar.words.tokenizer
        eos = set(tokenizer.eos_tokens)
        said: bytes = tokenizer.decode_bytes([token for token in tokens if token not in eos])
        return said


def allowed_tokens(answers: Sequence[tuple[Constraint, Sequence[int]]]) -> np.ndarray:
    """Which tokens may come next in each answer, given the tokens so far: bits in an int32 array (answers, words of 32
    tokens)."""
    mask = allocate_token_bitmask(len(answers), answers[0][0].grammar.words.tokenizer.vocab_size)
    matchers = [(constraint.matcher, i) for i, (constraint, _) in enumerate(answers)]
    fill_next_token_bitmask_par(_executor(), matchers, mask)
    for i, (constraint, tokens) in enumerate(answers):
        mask[i] = constraint.allowed(mask[i], tokens)
    return np.asarray(mask)


@lru_cache(maxsize=1)
def _executor() -> LLExecutor:
    return LLExecutor()


def _is_in_text(said: bytes) -> bool:
    """Whether JSON that has not ended yet is inside a string.

    >>> _is_in_text(b'{"a": "b'), _is_in_text(b'{"a": "b\\\\"'), _is_in_text(b'{"a"')
    (True, True, False)
    """
    return said.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"') % 2 == 1
