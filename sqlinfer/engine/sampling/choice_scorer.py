"""Trie scoring: the probability of each of a request's choices, from the model's logits; nothing is generated.

Where choices part in the trie of their tokens, a fork, the next token's probabilities are normalised over those that
lead on to a choice; a choice's probability is the product over its forks. It is the probability of each choice if the
model wrote the answer token by token and could write nothing else. No length normalisation is needed: a token without
an alternative costs nothing, so that a label of many tokens is not the less likely for them, as in a sum of
log-probabilities, nor the more likely for an easy ending, as in a mean. Such tokens are never computed: labels that
differ in their first token need no pass after the prompt's own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from sqlinfer.engine.batch.batch import Batch
from sqlinfer.engine.input.choice_trie import END, Fork
from sqlinfer.engine.model.device import is_out_of_memory, release_memory
from sqlinfer.engine.scheduler import Limits
from sqlinfer.engine.sequence import Sequence
from sqlinfer.types import Probabilities

_LOGITS_COST = 8  # a suffix pass keeps the logits of all its tokens, a prefill those of the last: it has fewer tokens


@dataclass(slots=True)
class _Scored:
    """A row that is being scored."""

    row: Sequence
    """Its sequence."""
    slot: int
    """In the batch."""
    log_probs: list[list[float]]
    """For each fork those of its tokens."""


@dataclass(frozen=True, slots=True)
class _Suffix:
    """A suffix of the trie that continues a row's prompt."""

    scored: _Scored
    """The row."""
    number: int
    """Its index among the trie's suffixes."""

    @property
    def tokens(self) -> list[int]:
        return list(self.scored.row.choice_trie.suffixes[self.number])


@torch.inference_mode()
def score(batch: Batch, rows: list[Sequence], logits: torch.Tensor, limits: Limits) -> None:
    """Finish the rows that have choices; rows were just prefilled, and logits (slots, vocab) are theirs."""
    first = sum(row.num_slots for row in batch.rows) - len(logits)
    scored_rows = []
    for row, offset in zip(rows, _first_slots(rows), strict=True):
        if row.choice_trie:
            scored_rows.append(_Scored(row, first + offset, [[] for _ in row.choice_trie.forks]))
            _score_forks(scored_rows[-1], None, logits[offset : offset + 1])
    suffixes = [_Suffix(scored, i) for scored in scored_rows for i in range(len(scored.row.choice_trie.suffixes))]
    for chunk, chunk_logits in _run_suffixes(batch, suffixes, limits):
        for suffix, suffix_logits in zip(chunk, chunk_logits, strict=True):
            _score_forks(suffix.scored, suffix.number, suffix_logits)
    for scored in scored_rows:
        _finish(scored)


def _first_slots(rows: list[Sequence]) -> list[int]:
    """The first slot of each row, where rows take num_slots each."""
    slots = [0]
    for row in rows:
        slots.append(slots[-1] + row.num_slots)
    return slots[:-1]


def _score_forks(scored: _Scored, suffix: int | None, logits: torch.Tensor) -> None:
    """Score the forks on a suffix, or at the end of the prompt (None), given their logits (tokens, vocab)."""
    for number, fork in enumerate(scored.row.choice_trie.forks):
        if fork.suffix == suffix:
            position = fork.position if suffix is not None else -1
            scored.log_probs[number] = _log_probs(logits[position].float(), fork, scored.row)


def _log_probs(logits: torch.Tensor, fork: Fork, row: Sequence) -> list[float]:
    """Log-probabilities of a fork's tokens, normalised over them, given logits (vocab,)."""
    of_tokens = logits[list(fork.tokens)]
    if END in fork.tokens:
        eos = [token for token in row.settings.eos if token < len(logits)]
        of_tokens[fork.tokens.index(END)] = logits[eos].logsumexp(dim=0)
    log_probs: list[float] = of_tokens.double().log_softmax(dim=0).tolist()
    return log_probs


def _finish(scored: _Scored) -> None:
    """The row's answer: the probability of each choice, to six digits."""
    trie, row = scored.row.choice_trie, scored.row
    totals = [sum(scored.log_probs[fork][child] for fork, child in path) for path in trie.paths]
    if any(map(math.isnan, totals)):
        row.fail("the model's output for this row is not a number (NaN); float32 may help")
        return
    probabilities = (float(f"{math.exp(total):.6g}") for total in totals)
    row.answer = Probabilities(zip(trie.labels, probabilities, strict=True))
    row.finish_reason = "stop"


def _run_suffixes(
    batch: Batch, suffixes: list[_Suffix], limits: Limits
) -> Iterator[tuple[list[_Suffix], torch.Tensor]]:
    """Chunks of suffixes with the logits (suffixes, tokens, vocab) after each token; what does not fit is halved."""
    chunks = deque(_chunks(suffixes, limits))
    while chunks:
        chunk = chunks.popleft()
        logits = _try_run(batch, chunk)
        if logits is None:
            release_memory(batch.model.device)
            middle = len(chunk) // 2
            chunks.extendleft([chunk[middle:], chunk[:middle]])
        else:
            yield chunk, logits


def _try_run(batch: Batch, chunk: list[_Suffix]) -> torch.Tensor | None:
    """The logits after the tokens of a chunk; None if there was no memory for it and it can be halved."""
    try:
        return batch.score_suffixes([suffix.scored.slot for suffix in chunk], [suffix.tokens for suffix in chunk])
    except (RuntimeError, MemoryError) as error:
        if len(chunk) == 1 or not is_out_of_memory(error):
            raise
    return None


def _chunks(suffixes: list[_Suffix], limits: Limits) -> list[list[_Suffix]]:
    """Suffixes in lists that a pass can hold: their tokens, padded, and the cache of the prompts that they continue."""
    chunks: list[list[_Suffix]] = []
    longest = cached = 0
    for suffix in suffixes:
        longest = max(longest, len(suffix.tokens))
        cached = max(cached, suffix.scored.row.max_length)
        size = len(chunks[-1]) + 1 if chunks else 1
        fits = size * longest <= limits.max_prefill_tokens // _LOGITS_COST and size * cached <= limits.max_tokens // 2
        if chunks and fits:
            chunks[-1].append(suffix)
        else:
            chunks.append([suffix])
            longest, cached = len(suffix.tokens), suffix.scored.row.max_length
    return chunks
