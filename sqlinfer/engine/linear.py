"""The matrix products of a model on the CPU: weights are laid out once as oneDNN wants them.

What torch does by itself lays them out anew at each call, or takes MKL, which runs at less than half the speed on
processors that are not Intel's. Knows no tokens and no caches.
"""

from __future__ import annotations

from typing import Any

import torch

TYPICAL_ROWS = 128  # the layout is made for so many; others run as well


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


def pack(model: Any) -> None:
    """Replace the linear layers of a model on the CPU; one that torch cannot pack stays as it is."""
    from transformers.pytorch_utils import Conv1D

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if type(layer) is torch.nn.Linear:
                setattr(parent, name, PackedLinear(layer.weight, layer.bias))
            elif type(layer) is Conv1D:
                setattr(parent, name, PackedLinear(layer.weight.T, layer.bias))
