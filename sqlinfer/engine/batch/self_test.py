"""The self-test of a padded batch: rows of unequal length together must give the logits that each gives alone.

A model that does not mask its padding, or has positions of its own, runs its rows one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sqlinfer.engine.attention.self_test import tolerance
from sqlinfer.engine.batch.batch import Batch
from sqlinfer.engine.generation_settings import GenerationSettings
from sqlinfer.engine.model.probe import sample_ids
from sqlinfer.engine.sequence import Sequence
from sqlinfer.errors import first_line
from sqlinfer.types import Request

GREEDY = GenerationSettings(1, 0, 0.0, 1.0, 0, 1, 0, (), frozenset(), {})
LENGTHS = (6, 2, 3)  # of the rows' prompts; the last one joins when the others run


def batching_unsupported_reason(open_batch: Callable[[], Batch], decoder_start: tuple[int, ...]) -> str:
    """Why rows cannot share a batch of this kind; "" if they can.

    decoder_start: of an encoder-decoder model, as its decoder prompts begin. Raises what a row that runs alone raises.
    """
    batch = open_batch()
    ids = sample_ids(batch.model.config, sum(LENGTHS))
    prompts = [ids[i : i + length] for i, length in enumerate(LENGTHS)]
    alone = [logits for prompt in prompts for logits in _run(open_batch(), [[prompt], []], decoder_start)]
    try:
        together = _run(batch, [prompts[:2], prompts[2:]] if batch.can_merge else [prompts, []], decoder_start)
    except Exception as error:  # noqa: BLE001 - what a model lacks may raise anything
        return f"several at once raise {type(error).__name__} ({first_line(error)})"
    pairs = [pair for rows in zip(alone, together, strict=True) for pair in zip(*rows, strict=False)]
    is_same = all(_is_close(batch.model, logits, expected) for expected, logits in pairs)
    return "" if is_same else "several at once give other logits than one alone"


def _run(batch: Batch, waves: list[list[list[int]]], decoder_start: tuple[int, ...]) -> list[list[torch.Tensor]]:
    """The logits (vocab,) of each row after each of its passes: its prefill, and a decode pass with each wave."""
    rows: list[Sequence] = []
    logits: dict[int, list[torch.Tensor]] = {}
    for wave in waves:
        joining = [Sequence(Request(""), GREEDY, prompt, list(decoder_start) or prompt) for prompt in wave]
        rows += joining
        for prefilled in (True, False):
            if prefilled and not joining:
                continue
            run = batch.prefill(joining) if prefilled else batch.decode()
            for row, row_logits in zip(joining if prefilled else batch.rows, run, strict=True):
                logits.setdefault(id(row), []).append(row_logits.float())
                row.output.append(row.prompt[0])
                row.num_uncomputed_tokens += 1
            batch.retain(batch.rows, list(range(len(batch.rows))))
    return [logits[id(row)] for row in rows]


def _is_close(model: Any, logits: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(logits, expected, rtol=0, atol=tolerance(model) * float(expected.abs().max()))
