"""Scored answers: the probability of each of a request's choices, read off the model's logits; nothing is generated.

A choice's score is the sum of the log-probabilities of its tokens, and the choices' probabilities are the softmax of
their scores: what the model would say if it could only say one of them. Scores are not divided by the number of
tokens. A choice that is spelt in the prompt costs its first token, where the model decides, and next to nothing after
it; the mean over its tokens would let the words with the longest tails win.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sqlinfer.engine.choices import END
from sqlinfer.engine.device import is_out_of_memory, release_memory
from sqlinfer.engine.scheduler import Limits
from sqlinfer.engine.sequence import Sequence

if TYPE_CHECKING:
    from sqlinfer.engine.run import Batch

_SHARE = 8  # all logits of a line are kept here, and only the last ones in a prefill: a pass has fewer tokens


@dataclass(frozen=True, slots=True)
class _Line:
    """A feed that continues a row. line: the row's place in the batch. index: the feed's place among the row's own."""

    row: Sequence
    line: int
    index: int

    @property
    def feed(self) -> list[int]:
        return list(self.row.choices.feeds[self.index])


@torch.inference_mode()
def score(batch: Batch, rows: list[Sequence], logits: torch.Tensor, limits: Limits) -> None:
    """Finish the rows that have choices; rows have just joined the batch and logits (lines, vocab) are theirs."""
    lines = _first_lines(batch, rows)
    scored = [(row, line, line - lines[0]) for row, line in zip(rows, lines, strict=True) if row.choices]
    if not scored:
        return
    totals = {id(row): _first_tokens(row, logits[at]) for row, _, at in scored}
    waiting = [_Line(row, line, i) for row, line, _ in scored for i in range(len(row.choices.feeds))]
    for chunk, read in _read_all(batch, waiting, limits):
        for line, after in zip(chunk, read, strict=True):
            _add_rest(line, after, totals[id(line.row)])
    for row, _, _ in scored:
        _finish(row, totals[id(row)])


def _first_lines(batch: Batch, rows: list[Sequence]) -> list[int]:
    """The first line of each of rows, which stand last in the batch."""
    line = sum(row.num_lines for row in batch.rows[: len(batch.rows) - len(rows)])
    lines = []
    for row in rows:
        lines.append(line)
        line += row.num_lines
    return lines


def _first_tokens(row: Sequence, logits: torch.Tensor) -> list[float]:
    """Log-probability of each choice's first token, given logits (vocab,) after the prompt."""
    log_probs = _log_probs(logits[None], row)[0]
    totals: list[float] = log_probs[[target[0] for target in row.choices.targets]].tolist()
    return totals


def _add_rest(line: _Line, logits: torch.Tensor, totals: list[float]) -> None:
    """Add the other tokens of the choices on a line, given logits (tokens of the feed, vocab) after each of its own."""
    choices = line.row.choices
    log_probs = _log_probs(logits[: len(line.feed)], line.row)
    members = choices.members[line.index]
    at = [(i, position, token) for i in members for position, token in enumerate(choices.targets[i][1:])]
    _, positions, tokens = zip(*at, strict=True)
    found = log_probs[list(positions), list(tokens)].tolist()
    for (i, _, _), value in zip(at, found, strict=True):
        totals[i] += value


def _log_probs(logits: torch.Tensor, row: Sequence) -> torch.Tensor:
    """(tokens, vocab + 1): log-probabilities, and last the one of the answer's end, so that END finds it."""
    log_probs = logits.float().log_softmax(dim=-1)
    eos = [token for token in row.settings.eos if token < logits.shape[-1]]
    end = log_probs[:, eos].logsumexp(dim=-1, keepdim=True)
    assert END == -1
    return torch.cat([log_probs, end], dim=-1)


def _finish(row: Sequence, totals: list[float]) -> None:
    """The row's answer: a JSON object of choice and probability, to six digits."""
    probs = torch.tensor(totals, dtype=torch.float64).softmax(dim=0).tolist()
    if any(map(math.isnan, probs)):
        row.fail("the model's output for this row is not a number (NaN); float32 may help")
        return
    row.answer = json.dumps(
        {name: float(f"{p:.6g}") for name, p in zip(row.choices.names, probs, strict=True)}, ensure_ascii=False
    )
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
        return batch.read([line.line for line in chunk], [line.feed for line in chunk])
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
        slots = max(slots, line.row.max_length)
        size = len(chunks[-1]) + 1 if chunks else 1
        fits = size * longest <= limits.max_prefill_tokens // _SHARE and size * slots <= limits.max_tokens // 2
        if chunks and fits:
            chunks[-1].append(line)
        else:
            chunks.append([line])
            longest, slots = len(line.feed), line.row.max_length
    return chunks
