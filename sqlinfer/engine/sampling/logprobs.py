"""Log-probabilities of chosen tokens and of the likeliest ones, kept for the rows that ask for them."""

from __future__ import annotations

import torch

from sqlinfer.engine.sequence import Sequence

LEAST = -9999.0  # of what the model excludes; JSON has no infinity


def keep_logprobs(rows: list[Sequence], logprobs: torch.Tensor, tokens: torch.Tensor) -> None:
    """Keep those of the next token of each row, given log-probabilities (rows, vocab) and the chosen tokens (rows,)."""
    logprobs = logprobs.clamp(min=LEAST)
    chosen = logprobs.gather(-1, tokens[:, None])[:, 0].tolist()
    values, ids = logprobs.topk(max(row.num_logprobs or 0 for row in rows), dim=-1)
    for i, (row, token) in enumerate(zip(rows, tokens.tolist(), strict=True)):
        if token not in row.settings.eos:  # it writes nothing
            likeliest = list(zip(ids[i].tolist(), values[i].tolist(), strict=True))
            row.logprobs.append((chosen[i], likeliest[: row.num_logprobs]))
