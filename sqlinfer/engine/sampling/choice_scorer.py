"""Scored answers: the probability of each of a request's choices, read off the model's logits; nothing is generated.

The choices are walked as a trie. Where they part, the next token's probabilities are those of the tokens that lead on
to a choice, taken as a whole; a choice's probability is the product over its forks. That is the chance of each choice
if the model wrote the answer token by token and could write nothing else. Lengths need no further normalisation: a
token without an alternative costs nothing, so a label of many tokens is not the less likely for them, as in a sum of
log-probabilities, nor the more likely for an easy ending, as in a mean. And it is never read, so that labels that
differ in their first token need no pass after the prompt's own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sqlinfer.engine.input.choice_trie import END, Fork
from sqlinfer.engine.model.device import is_out_of_memory, release_memory
from sqlinfer.engine.scheduler import Limits
from sqlinfer.engine.sequence import Sequence
from sqlinfer.types import Probabilities

if TYPE_CHECKING:
    from sqlinfer.engine.generation_loop import Batch

_SHARE = 8  # a pass over feeds keeps the logits of all tokens, a prefill those of the last: it has fewer tokens


@dataclass(slots=True)
class _Scored:
    """A row that is scored. line: its place in the batch. found: log-probabilities of each fork's tokens."""

    row: Sequence
    line: int
    found: list[list[float]]


@dataclass(frozen=True, slots=True)
class _Line:
    """A feed that continues a row, by its place among the row's feeds."""

    scored: _Scored
    number: int

    @property
    def feed(self) -> list[int]:
        return list(self.scored.row.choices.feeds[self.number])


@torch.inference_mode()
def score(batch: Batch, rows: list[Sequence], logits: torch.Tensor, limits: Limits) -> None:
    """Finish the rows that have choices; rows have just joined the batch, and logits (lines, vocab) are theirs."""
    line = sum(row.num_lines for row in batch.rows) - len(logits)
    scored = []
    for row, at in zip(rows, _first_lines(rows), strict=True):
        if row.choices:
            scored.append(_Scored(row, line + at, [[] for _ in row.choices.forks]))
            _look(scored[-1], None, logits[at : at + 1])
    waiting = [_Line(one, number) for one in scored for number in range(len(one.row.choices.feeds))]
    for chunk, read in _read_all(batch, waiting, limits):
        for each, after in zip(chunk, read, strict=True):
            _look(each.scored, each.number, after)
    for one in scored:
        _finish(one)


def _first_lines(rows: list[Sequence]) -> list[int]:
    """The first line of each row, where rows fill num_lines lines each."""
    lines = [0]
    for row in rows:
        lines.append(lines[-1] + row.num_lines)
    return lines[:-1]


def _look(scored: _Scored, feed: int | None, logits: torch.Tensor) -> None:
    """Note the forks of one feed, or of the prompt (None), given logits (tokens, vocab) after each of its tokens."""
    for number, fork in enumerate(scored.row.choices.forks):
        if fork.feed == feed:
            position = fork.position if feed is not None else -1
            scored.found[number] = _log_probs(logits[position].float(), fork, scored.row)


def _log_probs(logits: torch.Tensor, fork: Fork, row: Sequence) -> list[float]:
    """Log-probabilities of a fork's tokens among each other, given logits (vocab,)."""
    chosen = logits[list(fork.tokens)]
    if END in fork.tokens:
        ends = [token for token in row.settings.eos if token < len(logits)]
        chosen[fork.tokens.index(END)] = logits[ends].logsumexp(dim=0)
    found: list[float] = chosen.double().log_softmax(dim=0).tolist()
    return found


def _finish(scored: _Scored) -> None:
    """The row's answer: the probability of each choice, to six digits."""
    choices, row = scored.row.choices, scored.row
    totals = [sum(scored.found[fork][place] for fork, place in turns) for turns in choices.turns]
    if any(map(math.isnan, totals)):
        row.fail("the model's output for this row is not a number (NaN); float32 may help")
        return
    probabilities = (float(f"{math.exp(total):.6g}") for total in totals)
    row.answer = Probabilities(zip(choices.names, probabilities, strict=True))
    row.finish_reason = "stop"


def _read_all(batch: Batch, lines: list[_Line], limits: Limits) -> Iterator[tuple[list[_Line], torch.Tensor]]:
    """Chunks of lines with the logits (lines, tokens, vocab) after each token; chunks that do not fit are halved."""
    chunks = deque(_chunks(lines, limits))
    while chunks:
        chunk = chunks.popleft()
        read = _try_read(batch, chunk)
        if read is None:
            release_memory(batch.model.device)
            middle = len(chunk) // 2
            chunks.extendleft([chunk[middle:], chunk[:middle]])
        else:
            yield chunk, read


def _try_read(batch: Batch, chunk: list[_Line]) -> torch.Tensor | None:
    """The logits after the tokens of a chunk; None if there was no memory for it and it can be halved."""
    try:
        return batch.read([line.scored.line for line in chunk], [line.feed for line in chunk])
    except (RuntimeError, MemoryError) as error:
        if len(chunk) == 1 or not is_out_of_memory(error):
            raise
    return None


def _chunks(lines: list[_Line], limits: Limits) -> list[list[_Line]]:
    """Lines in lists that a pass can hold: their tokens, padded, and the cache of the prompts that they continue."""
    chunks: list[list[_Line]] = []
    longest = slots = 0
    for line in lines:
        longest = max(longest, len(line.feed))
        slots = max(slots, line.scored.row.max_length)
        size = len(chunks[-1]) + 1 if chunks else 1
        fits = size * longest <= limits.max_prefill_tokens // _SHARE and size * slots <= limits.max_tokens // 2
        if chunks and fits:
            chunks[-1].append(line)
        else:
            chunks.append([line])
            longest, slots = len(line.feed), line.scored.row.max_length
    return chunks
