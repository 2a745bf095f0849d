"""The matrix products of a model on the CPU: weights are laid out once as oneDNN wants them.

What torch does by itself lays them out anew at each call, or takes MKL, which runs at less than half the speed on
processors that are not Intel's. Or products are made of whole numbers of 8 bits. Knows no tokens and no caches.
"""

from __future__ import annotations

from typing import Any

import torch

TYPICAL_ROWS = 128  # the layout is made for so many; others run as well
MOST = 127
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.05}
LEAST_SCALE = 1e-30  # of a row of zeros


class PackedLinear(torch.nn.Module):
    """states @ weight.T + bias, for inference. weight is opaque: it has a dtype and a shape, and no elements."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), TYPICAL_ROWS)
        self.bias = None if bias is None else bias.detach()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(.., out_features) from (.., in_features)."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, self.weight, self.bias, "none", [], "")
        return product


class Int8Linear(torch.nn.Module):
    """About states @ weight.T + bias, for inference, by products of whole numbers from -127 to 127.

    Each output has a scale, and at each call each token: no row's product depends on its neighbours.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight, scale = quantize_rows(weight.detach().contiguous())
        self.scale = scale[:, 0]
        self.bias = None if bias is None else bias.detach()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(.., out_features) from (.., in_features), float32."""
        tokens, scale = quantize_rows(states.reshape(-1, self.in_features))
        product = torch._int_mm(tokens, self.weight.T).float().mul_(scale).mul_(self.scale)
        if self.bias is not None:
            product += self.bias
        return product.view(*states.shape[:-1], self.out_features)


Layer = type[PackedLinear] | type[Int8Linear]


def quantize_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as whole numbers, int8, and the scale (rows, 1) of each: rows are about their product."""
    scale = (rows.abs().amax(dim=1, keepdim=True) / MOST).clamp_min_(LEAST_SCALE)
    return (rows / scale).round_().to(torch.int8), scale


def multiplies_int8() -> bool:
    """Whether products of int8 are exact here; on processors that lack the instruction they may overflow."""
    left, right = (torch.full((64, 64), MOST, dtype=torch.int8) for _ in range(2))
    right[::2, :32] *= -1
    right[:, 48:] *= -1
    return torch.equal(torch._int_mm(left, right), left.int() @ right.int())


def tolerance(model: Any) -> float:
    """How far apart two ways to the same states of a model may be, in shares of the largest of them."""
    is_int8 = any(isinstance(module, Int8Linear) for module in model.modules())
    return TOLERANCE[torch.bfloat16 if is_int8 else model.dtype]


def pack(model: Any, body: Layer | None = PackedLinear, head: Layer | None = PackedLinear) -> None:
    """Replace the linear layers of a model on the CPU. head: of those that choose tokens and labels, body: of all
    others; None: they stay as they are."""
    from transformers.pytorch_utils import Conv1D

    inner = set() if body is head else set(model.base_model.modules()) - {model.get_output_embeddings()}
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            packed = body if layer in inner else head
            if packed is None:
                continue
            if type(layer) is torch.nn.Linear:
                setattr(parent, name, packed(layer.weight, layer.bias))
            elif type(layer) is Conv1D:
                setattr(parent, name, packed(layer.weight.T, layer.bias))
