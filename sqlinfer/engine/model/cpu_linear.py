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


def pack(model: Any, *, as_int8: bool = False) -> None:
    """Replace the linear layers of a model on the CPU; one that torch cannot pack stays as it is.

    as_int8: in products of int8, but for heads, which choose tokens and labels.
    """
    from transformers.pytorch_utils import Conv1D

    can_pack = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    body = set(model.base_model.modules()) - {model.get_output_embeddings()} if as_int8 else set()
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            packed = Int8Linear if layer in body else PackedLinear
            if packed is PackedLinear and not can_pack:
                continue
            if type(layer) is torch.nn.Linear:
                setattr(parent, name, packed(layer.weight, layer.bias))
            elif type(layer) is Conv1D:
                setattr(parent, name, packed(layer.weight.T, layer.bias))
