"""The training loop that the recipes share; knows no text and no task."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
_WARM_UP = 100
_SAY_EVERY = 100


def fit(
    model: Any, batches: Iterator[Any], loss_of: Callable[[Any], torch.Tensor], num_steps: int, peak: float = 1.5e-3
) -> None:
    """Minimise the loss of num_steps batches with AdamW; the learning rate rises to its peak and falls to a tenth."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, num_steps))
    model.train()
    mean, started_s = 0.0, time.perf_counter()
    for step in range(1, num_steps + 1):
        loss = loss_of(next(batches))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        mean += loss.item() / _SAY_EVERY
        if step % _SAY_EVERY == 0:
            seconds = time.perf_counter() - started_s
            print(f"  step {step} of {num_steps}: loss {mean:.4f}, {seconds:.0f} s", file=sys.stderr, flush=True)
            mean = 0.0
    model.eval()


def by_length(
    make: Callable[[], Item], length: Callable[[Item], int], rng: Random, num_rows: int, window: int = 16
) -> Iterator[Sequence[Item]]:
    """Batches of num_rows items of about one length, so that little is padding; without end."""
    while True:
        items = sorted((make() for _ in range(window * num_rows)), key=length)
        batches = [items[start : start + num_rows] for start in range(0, len(items), num_rows)]
        rng.shuffle(batches)
        yield from batches


def padded(rows: Sequence[Sequence[float]], fill: int) -> torch.Tensor:
    """Rows of numbers as a tensor (rows, longest), filled on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])


def _share(step: int, num_steps: int) -> float:
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    done = (step - _WARM_UP) / max(1, num_steps - _WARM_UP)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))
