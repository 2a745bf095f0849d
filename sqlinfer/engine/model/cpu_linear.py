"""Linear layers for the CPU: weights packed once for oneDNN, or quantised to int8.

torch's own linear packs the weights anew at each call, or takes MKL, which runs at less than half the speed on
processors that are not Intel's. Knows no tokens and no caches.
"""

from __future__ import annotations

from typing import Any

import torch

TYPICAL_ROWS = 128  # that oneDNN packs for; other numbers of rows run as well
INT8_MAX = 127
MIN_SCALE = 1e-30  # of a row of zeros


class PackedLinear(torch.nn.Module):
    """states @ weight.T + bias, for inference.

    weight: in oneDNN's layout, opaque: it has a dtype and a shape, and no elements.
    bias: (out_features,), or None.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), TYPICAL_ROWS)
        self.bias = None if bias is None else bias.detach()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(.., out_features) from (.., in_features)."""
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, self.weight, self.bias, "none", [], "")
        return output


class Int8Linear(torch.nn.Module):
    """About states @ weight.T + bias, for inference, by int8 matmuls.

    Dynamic quantisation with a scale for each output feature and each token, as in LLM.int8() (Dettmers et al. 2022,
    arXiv 2208.07339) without its outliers: no row's result depends on its neighbours.

    weight: (out_features, in_features), int8.
    scale: (out_features,).
    bias: (out_features,), or None.
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
        output = torch._int_mm(tokens, self.weight.T).float().mul_(scale).mul_(self.scale)
        if self.bias is not None:
            output += self.bias
        return output.view(*states.shape[:-1], self.out_features)


Layer = type[PackedLinear] | type[Int8Linear]


def quantize_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows in int8, and the scale (rows, 1) of each: their product is about the rows."""
    scale = (rows.abs().amax(dim=1, keepdim=True) / INT8_MAX).clamp_min_(MIN_SCALE)
    return (rows / scale).round_().to(torch.int8), scale


def multiplies_int8() -> bool:
    """Whether int8 matmuls are exact here; on processors that lack the instruction they may overflow."""
    left, right = (torch.full((64, 64), INT8_MAX, dtype=torch.int8) for _ in range(2))
    right[::2, :32] *= -1
    right[:, 48:] *= -1
    return torch.equal(torch._int_mm(left, right), left.int() @ right.int())


def replace_linear_layers(model: Any, body: Layer | None = PackedLinear, head: Layer | None = PackedLinear) -> None:
    """Replace the linear layers of a model on the CPU: with head those that choose tokens and labels, with body all
    others. None: they stay."""
    from transformers.pytorch_utils import Conv1D

    inner = set() if body is head else set(model.base_model.modules()) - {model.get_output_embeddings()}
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            replacement = body if layer in inner else head
            if replacement is None:
                continue
            if type(layer) is torch.nn.Linear:
                setattr(parent, name, replacement(layer.weight, layer.bias))
            elif type(layer) is Conv1D:
                setattr(parent, name, replacement(layer.weight.T, layer.bias))
