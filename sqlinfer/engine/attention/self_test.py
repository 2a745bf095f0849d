"""How far a self-test lets an attention of ours be off a model's own."""

from __future__ import annotations

from typing import Any

import torch

from sqlinfer.engine.model.cpu_linear import Int8Linear

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.05}


def tolerance(model: Any) -> float:
    """How far apart two ways to the same states of a model may be, as a share of the largest of them."""
    is_int8 = any(isinstance(module, Int8Linear) for module in model.modules())
    return TOLERANCE[torch.bfloat16 if is_int8 else model.dtype]
