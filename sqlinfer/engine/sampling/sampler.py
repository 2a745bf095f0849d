"""Logits to tokens: greedy, sampled or by beam search, each row by its own settings and its own random numbers."""

from __future__ import annotations

import torch

from sqlinfer.engine.sampling.beam_search import Beams
from sqlinfer.engine.sampling.logits_processors import build_processors, process
from sqlinfer.engine.sampling.logprobs import keep_logprobs
from sqlinfer.engine.sequence import Sequence


@torch.inference_mode()
def sample(rows: list[Sequence], logits: torch.Tensor) -> None:
    """Append the next token to each row, given logits (slots, vocab) in the order of rows.

    Finished rows are passed over, and so are rows with tokens that are still to be computed.
    """
    logits = logits.float()
    has_nan = logits.amax(dim=-1).isnan().tolist()  # the largest of numbers with a NaN among them is NaN
    single: list[tuple[Sequence, int]] = []  # row, slot
    first = 0
    for row in rows:
        slots = slice(first, first + row.num_slots)
        first = slots.stop
        if row.is_finished or row.num_uncomputed_tokens:
            continue
        if row.processors is None:
            row.processors = build_processors(row, logits.device)
        if any(has_nan[slots]):
            row.fail("the model's output for this row is not a number (NaN); float32 may help")
        elif row.num_slots > 1:
            _advance_beams(row, logits[slots])
        else:
            single.append((row, slots.start))
    if single:
        if len(single) < len(logits):
            logits = logits[[slot for _, slot in single]]
        _sample_single([row for row, _ in single], logits)


def continued_slots(rows: list[Sequence]) -> list[int]:
    """The slots, among those of rows, that unfinished rows continue."""
    slots: list[int] = []
    first = 0
    for row in rows:
        if not row.is_finished:
            slots += [first + parent for parent in row.parent_slots]
        first += row.num_slots
    return slots


def _sample_single(rows: list[Sequence], logits: torch.Tensor) -> None:
    """One token for each row, given logits (rows, vocab)."""
    measured = [i for i, row in enumerate(rows) if row.num_logprobs is not None]
    logprobs = logits[measured].log_softmax(dim=-1) if measured else None
    for i, row in enumerate(rows):
        if row.processors:
            ids = torch.tensor([row.token_ids], device=logits.device)
            logits[i] = process(row, ids, logits[i : i + 1])[0]
    constrained = [i for i, row in enumerate(rows) if row.constraint is not None]
    if constrained:
        logits[constrained] = _masked([rows[i] for i in constrained], logits[constrained])
    tokens = logits.argmax(dim=-1)
    sampled = [i for i, row in enumerate(rows) if row.settings.temperature > 0]
    if sampled:
        tokens[sampled] = draw([rows[i] for i in sampled], logits[sampled])
    if logprobs is not None:
        keep_logprobs([rows[i] for i in measured], logprobs, tokens[measured])
    for row, token in zip(rows, tokens.tolist(), strict=True):
        row.append(token)


def _masked(rows: list[Sequence], logits: torch.Tensor) -> torch.Tensor:
    """Logits (rows, vocab) with those of tokens that the rows' grammars do not allow at minus infinity."""
    from sqlinfer.engine.input.grammar import allowed_tokens

    bits = torch.from_numpy(allowed_tokens([(row.constraint, row.output) for row in rows])).to(logits.device)
    shifts = torch.arange(32, dtype=torch.int32, device=logits.device)
    allowed = ((bits[:, :, None] >> shifts) & 1).bool().flatten(1)[:, : logits.shape[1]]
    return logits.masked_fill(~allowed, -torch.inf)


def draw(rows: list[Sequence], logits: torch.Tensor) -> torch.Tensor:
    """Token ids (rows,) from logits (rows, vocab): the inverse of each row's distribution at its uniform draw."""

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=logits.device)[:, None]

    vocabulary = logits.shape[-1]
    scores, order = (logits / column([r.settings.temperature for r in rows])).sort(dim=-1, descending=True, stable=True)
    probs = scores.softmax(dim=-1)
    rank = torch.arange(vocabulary, device=logits.device)
    probs = probs.masked_fill(rank >= column([r.settings.top_k or vocabulary for r in rows]), 0.0)
    before = probs.cumsum(dim=-1) - probs
    mass = probs.sum(dim=-1, keepdim=True) * column([r.settings.top_p for r in rows])
    probs = probs.masked_fill((before >= mass) & (rank > 0), 0.0)
    total = probs.cumsum(dim=-1)
    target = column([r.uniform_draw() for r in rows]) * total[:, -1:]
    drawn = (total <= target).sum(dim=-1, keepdim=True)
    last = (probs > 0).sum(dim=-1, keepdim=True) - 1
    return order.gather(-1, drawn.minimum(last))[:, 0]


def _advance_beams(row: Sequence, logits: torch.Tensor) -> None:
    """Extend the beams of one row by a token, given logits (beams, vocab)."""
    if row.beams is None:
        row.beams = Beams(row.settings)
    log_probs = logits.log_softmax(dim=-1)
    if row.processors:
        ids = torch.tensor([row.decoder_prompt + tokens for tokens in row.beams.tokens], device=logits.device)
        log_probs = process(row, ids, log_probs)
    row.parent_slots = row.beams.advance(log_probs)
    if row.beams.is_done:
        row.finish_beam_search(row.beams.best)
