"""Constrained decoding: JSON schemas as grammars, which tell what tokens may come next, and which must.

Built on llguidance. Knows no torch: token masks are bits in numpy arrays.
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

from sqlinfer.engine.input.token_bytes import load_token_bytes

_JSON_STYLE: Any = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": '"\\nrt',
}
"""JSON as json.dumps writes it, without escapes that may stand for half of a character."""
_NUMBER_TOKENS = 24  # that a number may still take when an answer is to be closed
_MAX_COMPLETION = 2000  # tokens
_NESTED = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties")


def compile_schema(schema: str) -> str:
    """The grammar of a JSON schema. Raises ValueError that names the part of it that is not supported, or that nothing
    satisfies."""
    try:
        parsed = json.loads(schema)
    except ValueError as error:
        raise ValueError(f"the schema is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("the schema is nested too deeply") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"a JSON schema is an object, as {{'type': 'string'}}, not {schema[:60]}")
    grammar: str = LLMatcher.grammar_from_json_schema(schema, overrides=_JSON_STYLE)
    if problem := _grammar_error(grammar):
        part = _find_refused_part(parsed, parsed, ()) or "the schema"
        raise ValueError(f"{part}: {' '.join(problem.split())}")
    return grammar


def _grammar_error(grammar: str) -> str:
    """Why llguidance refuses a grammar; it panics where it would cut its message inside of a character."""
    try:
        problem: str = LLMatcher.validate_grammar(grammar)
    except BaseException as panic:
        if type(panic).__name__ != "PanicException":
            raise
        problem = f"it cannot be parsed ({panic})"
    return problem


def _find_refused_part(schema: Any, root: dict[str, Any], path: tuple[str, ...]) -> str:
    """The innermost part of a schema that is refused by itself, such as `properties.price`; "" for the whole."""
    parts: list[tuple[str, Any]] = [
        (key, name) for key in _NESTED if isinstance(schema.get(key), dict) for name in schema[key]
    ]
    parts += [(key, i) for key in _LISTED if isinstance(schema.get(key), list) for i in range(len(schema[key]))]
    inner: list[tuple[tuple[str, ...], Any]] = [((key, str(at)), schema[key][at]) for key, at in parts]
    inner += [((key,), schema[key]) for key in _SINGLE if key in schema]
    definitions = {key: root[key] for key in ("$defs", "definitions") if key in root}
    for keys, part in inner:
        if isinstance(part, dict):
            alone = part if path or keys[0] in definitions else {**definitions, **part}
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(alone), overrides=_JSON_STYLE)
            if _grammar_error(grammar):
                return _find_refused_part(part, root, (*path, *keys)) or ".".join((*path, *keys))
    return ".".join(path)


class Grammars:
    """The grammars of one model's tokenizer; safe among threads."""

    def __init__(self, tokenizer: Any, vocabulary: int, eos: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._eos = sorted(eos)
        self._lock = threading.Lock()
        self._masks: VocabularyMasks | None = None
        self._cached_grammar = lru_cache(maxsize=256)(self._compile)

    def constraint(self, schema: str, max_tokens: int) -> Constraint:
        """The constraint of an answer of at most max_tokens to a schema. Raises ValueError."""
        with self._lock:
            grammar = self._cached_grammar(schema)
        if max_tokens < grammar.shortest:
            least = f"an answer to the schema has at least {grammar.shortest}"
            raise ValueError(f"max_tokens is {max_tokens}, and {least}; raise it")
        return Constraint(grammar, max_tokens)

    def _compile(self, schema: str) -> Grammar:
        grammar = compile_schema(schema)
        if self._masks is None:
            if not self._eos:
                raise ValueError("the model cannot follow a schema: it has no end token")
            self._masks = VocabularyMasks(load_token_bytes(self._tokenizer, self._vocabulary, self._eos))
        return Grammar(grammar, self._masks)


class VocabularyMasks:
    """Sets of a vocabulary's tokens, as bit masks like llguidance's.

    tokenizer: llguidance's.
    quotes, nulls, commas: tokens that start with a quote, with null, with a comma.
    opens: tokens that open an object, a list or a string.
    closes: tokens of closing brackets only, and those that end the answer.
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
        mask = allocate_token_bitmask(1, len(chosen))[0]
        packed = np.packbits(np.array(chosen, dtype=bool), bitorder="little")
        bits = np.zeros(mask.nbytes, dtype=np.uint8)
        bits[: len(packed)] = packed
        return bits.view(np.int32)


class Grammar:
    """The grammar of one schema in a model's tokens.

    masks: sets of the vocabulary's tokens.
    shortest: tokens of the shortest answer.
    reserve: tokens that suffice to complete any answer.
    """

    def __init__(self, grammar: str, masks: VocabularyMasks) -> None:
        self.masks = masks
        self._initial = LLMatcher(masks.tokenizer, grammar, log_level=0)
        if self._initial.is_error():
            raise ValueError(f"the model cannot write an answer to the schema: {self._initial.get_error()}")
        self.shortest, self.reserve = self._measure()

    def begin(self) -> LLMatcher:
        """A matcher at the start of an answer."""
        return self._initial.deep_copy()

    def _measure(self) -> tuple[int, int]:
        """Tokens of the shortest answer, and of one that opens what it can and closes it at once with some to spare."""
        shortest = self._shortest_completion(())
        if shortest is None:
            raise ValueError("the model cannot write an answer to the schema in its tokens, or none is short")
        nested = self._shortest_completion((self.masks.opens,)) or shortest
        return shortest, max(shortest, nested) + nested // 4 + _NUMBER_TOKENS

    def _shortest_completion(self, preferred: tuple[np.ndarray, ...]) -> int | None:
        """Tokens of an answer that is closed as soon as possible; None if that takes too many or is a dead end.

        preferred: masks of tokens to take before those that close.
        """
        constraint = Constraint(self, _MAX_COMPLETION)
        tokens: list[int] = []
        while len(tokens) < _MAX_COMPLETION:
            mask = allocate_token_bitmask(1, self.masks.tokenizer.vocab_size)
            fill_next_token_bitmask(constraint.matcher, mask, 0)
            allowed = constraint.closing(mask[0], tokens, preferred)
            candidates = np.flatnonzero(np.unpackbits(allowed.view(np.uint8), bitorder="little"))
            if not len(candidates):
                return None
            tokens.append(int(candidates[-1 if preferred else 0]))
            tokens += constraint.advance(tokens[-1])
            if constraint.is_complete:
                return len(tokens)
        return None


class Constraint:
    """One answer in the course of its grammar.

    grammar: that it follows.
    is_cut: whether it was closed early because its tokens ran out.
    """

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
        """Of the tokens that the grammar allows those that may come next: all, until the rest is needed for closing."""
        left = self._max_tokens - len(tokens)
        close = self.grammar.reserve + self._bytes(tokens).count(b"{") if left <= self._max_tokens // 2 else 0
        if left > close:
            return mask
        self.is_cut = True
        return self.closing(mask, tokens)

    def advance(self, token: int) -> list[int]:
        """Consume an allowed token. Returns the tokens that must follow it, which are consumed too."""
        self.matcher.consume_token(token)
        forced: list[int] = [] if self.matcher.is_stopped() else self.matcher.compute_ff_tokens()
        if forced:
            self.matcher.consume_tokens(forced)
        return forced

    @property
    def is_complete(self) -> bool:
        """Whether nothing may follow."""
        return self.matcher.is_stopped() and not self.matcher.is_error()

    @property
    def may_end(self) -> bool:
        """Whether the tokens so far are a complete answer."""
        return not self.matcher.is_error() and self.matcher.is_accepting()

    def text(self, tokens: Sequence[int]) -> str:
        """The text of the answer."""
        return self._bytes(tokens).decode("utf-8", "replace")

    def closing(self, mask: np.ndarray, tokens: Sequence[int], preferred: tuple[np.ndarray, ...] = ()) -> np.ndarray:
        """Of the allowed tokens those that complete the answer soonest: strings and lists end, what may be null is,
        and a number continues as the model wants."""
        masks = self.grammar.masks
        text = self._bytes(tokens)
        in_string = _is_in_string(text)
        choices = (masks.quotes,) if in_string else (*preferred, masks.closes, masks.nulls, masks.commas)
        if not in_string and (text[-1:].isdigit() or text[-1:] in (b"-", b".")):
            return mask
        for choice in choices:
            allowed: np.ndarray = mask & choice
            if allowed.any():
                return allowed
        return mask

    def _bytes(self, tokens: Sequence[int]) -> bytes:
        tokenizer = self.grammar.masks.tokenizer
        eos = set(tokenizer.eos_tokens)
        text: bytes = tokenizer.decode_bytes([token for token in tokens if token not in eos])
        return text


def allowed_tokens(answers: Sequence[tuple[Constraint, Sequence[int]]]) -> np.ndarray:
    """Which tokens may come next in each answer, given the tokens so far: bits in an int32 array (answers,
    vocabulary / 32)."""
    mask = allocate_token_bitmask(len(answers), answers[0][0].grammar.masks.tokenizer.vocab_size)
    matchers = [(constraint.matcher, i) for i, (constraint, _) in enumerate(answers)]
    fill_next_token_bitmask_par(_executor(), matchers, mask)
    for i, (constraint, tokens) in enumerate(answers):
        mask[i] = constraint.allowed(mask[i], tokens)
    return np.asarray(mask)


@lru_cache(maxsize=1)
def _executor() -> LLExecutor:
    return LLExecutor()


def _is_in_string(text: bytes) -> bool:
    """Whether JSON that has not ended yet is inside a string.

    >>> _is_in_string(b'{"a": "b'), _is_in_string(b'{"a": "b\\\\"'), _is_in_string(b'{"a"')
    (True, True, False)
    """
    return text.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"') % 2 == 1
